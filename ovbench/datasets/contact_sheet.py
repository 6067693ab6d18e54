"""A few samples on one page: pictures, their labels in colour, and what the colours mean."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from ovbench.drawing.colours import BACKGROUND, MAT, RGB, nth_colour
from ovbench.drawing.pictures import fitted, outlined, overlay
from ovbench.harness.protocol import Sample, Vocabulary

TILE = (300, 225)
"""Width and height that every picture is fitted into."""

_GAP, _CAPTION, _COLUMNS = 10, 20, 3
_PAPER, _INK = (255, 255, 255), (40, 40, 40)
_FONT_SIZE = 14
_LEGEND_WIDTH, _LEGEND_HEIGHT = 190, 22


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
    return _page(strips, names)


@dataclass(frozen=True, slots=True)
class _Strip:
    """Tiles of one sample, side by side, and what is written below them."""

    tiles: Sequence[Pillow.Image]
    caption: str


def _strip(sample: Sample, colours: Mapping[int, RGB], ignored: int) -> _Strip:
    pictures = [
        fitted(sample.image, TILE),
        overlay(sample.image, sample.label, colours, ignored, TILE),
    ]
    if sample.prompt is not None:
        for query in sample.prompt.vocabulary.classes:
            pictures[:0] = [outlined(shown.image, shown.mask, TILE) for shown in query.exemplars]
    return _Strip([_matted(picture) for picture in pictures], sample.id)


def _page(strips: Sequence[_Strip], names: Mapping[str, RGB]) -> Pillow.Image:
    width, height = TILE
    tiles = max(len(strip.tiles) for strip in strips)
    columns = min(len(strips), max(1, 2 * _COLUMNS // tiles))
    rows = -(-len(strips) // columns)
    cell = tiles * (width + 2) + _GAP, height + _CAPTION + _GAP
    across = max(1, (columns * cell[0]) // _LEGEND_WIDTH)
    legend_rows = -(-len(names) // across)
    size = columns * cell[0] + _GAP, rows * cell[1] + (legend_rows + 1) * _LEGEND_HEIGHT
    page = Pillow.new("RGB", size, _PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(_FONT_SIZE)
    for place, strip in enumerate(strips):
        left, top = _GAP + place % columns * cell[0], _GAP + place // columns * cell[1]
        for number, tile in enumerate(strip.tiles):
            page.paste(tile, (left + number * (width + 2), top))
        caption = _shortened(strip.caption, font, len(strip.tiles) * width)
        draw.text((left, top + height + 2), caption, _INK, font)
    for place, (name, colour) in enumerate(names.items()):
        left = _GAP + place % across * _LEGEND_WIDTH
        top = _GAP + rows * cell[1] + place // across * _LEGEND_HEIGHT
        draw.rectangle((left, top, left + 20, top + 14), colour, _INK)
        draw.text((left + 28, top - 2), _shortened(name, font, _LEGEND_WIDTH - 34), _INK, font)
    return page


def _by_area(samples: Iterable[Sample], ignored: int) -> list[int]:
    """The labels that occur, the largest first: their colours are the most different ones."""
    pixels: dict[int, float] = {}
    for sample in samples:
        values, counts = np.unique(sample.label, return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            pixels[value] = pixels.get(value, 0) + count / sample.label.size
    pixels.pop(ignored, None)
    return sorted(pixels, key=lambda label: -pixels[label])


def _matted(picture: Pillow.Image) -> Pillow.Image:
    tile = Pillow.new("RGB", TILE, MAT)
    tile.paste(picture, ((TILE[0] - picture.width) // 2, (TILE[1] - picture.height) // 2))
    return tile


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"
