"""Methods whose models learned from captions by their strongest places, which they then compare."""
