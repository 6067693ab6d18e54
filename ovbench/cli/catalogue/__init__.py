"""Commands about what there is, and what is to come: methods, datasets, checkpoints."""
