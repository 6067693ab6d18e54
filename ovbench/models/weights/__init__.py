"""Which weights there are, where they come from, and how they are read."""
