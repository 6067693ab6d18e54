"""What values from Python and names from files are held to, before anybody works with them."""
