"""Captions for scenes: what the miniature vision-language models learn their words from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ovbench.toyworld.world import STUFF

SINGLE = (
    "a photo of a {}.",
    "a photo of the {}.",
    "a picture of a {}.",
    "an image of a {}.",
    "a drawing of a {}.",
    "a photo of one {}.",
    "a photo of a small {}.",
    "a photo of a large {}.",
    "there is a {} in the scene.",
    "this is a {}.",
    "itap of a {}.",
    "{}",
)
"""Prompts for one class, standard ones among them, so that their words are known."""

_FRAMES = ("a photo of {}.", "a picture of {}.", "an image with {}.", "there is {}.", "{}")
_GROUNDS = ("{} on {}", "{} over {}", "{} in front of {}", "{} and {}")


def vocabulary_texts() -> tuple[str, ...]:
    """Every template with its gap left open: all words of a caption besides the classes."""
    return (*SINGLE, *_FRAMES, *_GROUNDS)


def caption(present: Sequence[str], rng: np.random.Generator) -> str:
    """A sentence that names every class in ``present``, in random order.

    Args:
        present: names of things and stuff, at least one.
        rng: the source of template, order and articles; advanced.
    """
    if len(present) == 1:
        return _pick(SINGLE, rng).format(present[0])
    names = [present[i] for i in rng.permutation(len(present))]
    things = [f"{_pick(('a', 'the'), rng)} {n}" for n in names if n not in STUFF]
    ground = [n for n in names if n in STUFF]
    if things and ground:
        text = _pick(_GROUNDS, rng).format(_listed(things), _listed(ground))
    else:
        text = _listed(things or ground)
    return _pick(_FRAMES, rng).format(text)


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]


def _pick(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]
