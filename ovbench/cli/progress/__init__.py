"""Long work, shown on stderr."""
