"""How every command reads its options, prints, and ends."""
