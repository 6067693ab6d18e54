"""Methods that change what the last blocks of CLIP's image transformer do, and nothing else.

What they share is :mod:`ovbench.adapters.parts.dense_clip`.
"""
