"""The embedded world: renderer, miniature models and their training."""
