"""``python -m ovbench.toyworld.evaluate``: are the miniatures as good as they should be?"""
