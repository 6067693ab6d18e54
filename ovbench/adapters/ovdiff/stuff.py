"""Stuff: what is nobody's background though it surrounds many things (paper, section 3.4)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional

from ovbench.adapters.ovdiff.matching import PrototypeSet
from ovbench.harness.contract.vocabulary import ClassQuery

# ChatGPT's answer in the released code; the second line is for ADE20K.
STUFF = frozenset(
    [
        "bedclothes",
        "ceiling",
        "cloth",
        "curtain",
        "fence",
        "floor",
        "grass",
        "ground",
        "mountain",
        "platform",
        "road",
        "rock",
        "sidewalk",
        "sky",
        "snow",
        "track",
        "wall",
        "water",
        "wood",
    ]
) | {"step", "trade name", "lake", "blanket", "tray", "glass"}


def is_stuff(query: ClassQuery, source: Literal["benchmark", "list"]) -> bool:
    """Whether a class is stuff, by what the benchmark says or by :data:`STUFF`."""
    if source == "benchmark" and query.kind is not None:
        return query.kind == "stuff"
    return query.name.lower() in STUFF


def unlike_stuff(background: Tensor, stuff: PrototypeSet, similarity: float) -> Tensor:
    """Which background prototypes of a thing are like no stuff.

    Args:
        background: ``(p, D)``.
        stuff: foreground prototypes of all stuff classes.
        similarity: those with a higher cosine to any of these are like stuff.

    Returns:
        ``(p,)`` bool.
    """
    cosine = functional.normalize(background, dim=1) @ stuff.vectors.mT
    return cosine.amax(dim=1) <= similarity
