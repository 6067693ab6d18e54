"""Frozen foundation models behind field-standard calls."""
