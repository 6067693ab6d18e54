"""What exists in the embedded world, and which scenes belong to which split."""

from __future__ import annotations

THINGS = (
    "circle",
    "square",
    "triangle",
    "star",
    "cross",
    "ring",
    "heart",
    "crescent",
    "arrow",
    "diamond",
)
"""Classes with a shape; every thing also has a pattern and a palette of its own."""

STUFF = ("grass", "water", "sand", "brick", "sky")
"""Classes that fill the ground behind the things; told apart by texture."""

NAMES = THINGS + STUFF
"""The class of every value in a scene's label map, in order."""

SIZE = 96
"""Height and width of a scene, in pixels."""

SPLITS = {
    "train": range(10_000_000),
    "val": range(10_000_000, 10_000_500),
    "test": range(20_000_000, 20_001_000),
}
"""Seeds of the scenes of each split. No seed is in two of them, and miniature models learn
from ``train`` alone."""
