"""Pictures that show what to look for."""
