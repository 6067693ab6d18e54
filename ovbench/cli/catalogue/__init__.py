"""Commands about what there is: methods, datasets, checkpoints."""
