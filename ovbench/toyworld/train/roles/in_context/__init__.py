"""Roles that are shown pictures with masks, and paint another picture's."""
