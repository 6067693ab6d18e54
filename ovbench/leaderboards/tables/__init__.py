"""Results of many runs as ranked tables."""
