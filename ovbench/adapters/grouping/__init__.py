"""Methods whose networks learned from captions to group patches, with GroupViT's rule of scores.

What they share with others that decide window by window is :mod:`ovbench.adapters.parts.sliding`.
"""
