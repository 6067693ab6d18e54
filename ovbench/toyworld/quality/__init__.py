"""What the miniature models are worth, measured on scenes they never saw."""
