"""Small packages to start a method or a dataset of one's own from."""
