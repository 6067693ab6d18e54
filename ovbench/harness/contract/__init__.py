"""What methods, datasets and filters promise, and what they are told."""
