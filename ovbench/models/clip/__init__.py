"""CLIP: texts and dense features in one space."""
