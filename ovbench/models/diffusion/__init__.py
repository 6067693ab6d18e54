"""Stable Diffusion: pictures of prompts, and features and attention of pictures."""
