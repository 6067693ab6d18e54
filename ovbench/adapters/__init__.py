"""One module per method: nothing but the method."""
