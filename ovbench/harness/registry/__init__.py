"""Methods, filters and datasets by name, their settings, and the code that they stand for."""
