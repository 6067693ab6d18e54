"""One module per miniature model."""
