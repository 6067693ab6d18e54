"""Roles whose places and words are pooled while they learn from captions."""
