"""Post-processing that methods share."""
