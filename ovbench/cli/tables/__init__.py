"""Commands that put runs beside each other."""
