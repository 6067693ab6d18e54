"""A few samples on one page: pictures, their labels in colour, and what the colours mean."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from PIL import Image as Pillow

from ovbench.drawing.colours import BACKGROUND, MAT, RGB, nth_colour
from ovbench.drawing.pictures import fitted, outlined, overlay
from ovbench.drawing.sheet import TILE, Strip, page_of
from ovbench.harness.contract.datasets import Sample
from ovbench.harness.contract.vocabulary import Vocabulary


def choose(count: int, n: int, seed: int) -> list[int]:
    """At most ``n`` of ``count`` positions, drawn by a seed: the whole set, not its beginning."""
    return sorted(random.Random(seed).sample(range(count), min(n, count)))


def contact_sheet(
    vocabulary: Vocabulary, samples: Sequence[Sample], ignored: int = 255
) -> Pillow.Image:
    """Draw samples with a legend of the classes that occur among them.

    A sample's prompt is drawn before it, the object outlined.

    Args:
        vocabulary: of the samples' labels.
        samples: at least one.
        ignored: the label that is not scored.
    """
    labels = _by_area(samples, ignored)
    colours = {label: nth_colour(place) for place, label in enumerate(labels)}
    if vocabulary.background is not None:
        colours[0] = BACKGROUND
    strips = [_strip(sample, colours, ignored) for sample in samples]
    names = {vocabulary.names[label]: colours[label] for label in labels}
    if any((sample.label == ignored).any() for sample in samples):
        names["not scored"] = MAT
    return page_of(strips, names)


def _strip(sample: Sample, colours: Mapping[int, RGB], ignored: int) -> Strip:
    pictures = [
        fitted(sample.image, TILE),
        overlay(sample.image, sample.label, colours, ignored, TILE),
    ]
    if sample.prompt is not None:
        for query in sample.prompt.vocabulary.classes:
            pictures[:0] = [outlined(shown.image, shown.mask, TILE) for shown in query.exemplars]
    return Strip(pictures, sample.id)


def _by_area(samples: Iterable[Sample], ignored: int) -> list[int]:
    """The labels that occur, the largest first: their colours are the most different ones."""
    pixels: dict[int, float] = {}
    for sample in samples:
        values, counts = np.unique(sample.label, return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            pixels[value] = pixels.get(value, 0) + count / sample.label.size
    pixels.pop(ignored, None)
    return sorted(pixels, key=lambda label: -pixels[label])
