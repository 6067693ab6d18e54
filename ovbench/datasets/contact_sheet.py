"""A few samples on one page: pictures, their labels in colour, and what the colours mean."""

from __future__ import annotations

import colorsys
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from ovbench.harness.protocol import Image, LabelMap, Sample, Vocabulary

RGB: TypeAlias = tuple[int, int, int]

TILE = (300, 225)
"""Width and height that every picture is fitted into."""

_GAP, _CAPTION, _COLUMNS = 10, 20, 3
_PAPER, _MAT, _INK = (255, 255, 255), (238, 238, 238), (40, 40, 40)
_BACKGROUND = (70, 70, 80)
_FONT_SIZE = 14
_LEGEND_WIDTH, _LEGEND_HEIGHT = 190, 22
# Saturation and brightness in turn, so that the many colours of a long legend stay apart.
_SHADES = ((0.85, 0.95), (0.55, 0.75), (0.95, 0.6))
_GOLDEN_RATIO = 0.618034


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
    colours = {label: _colour(place) for place, label in enumerate(labels)}
    if vocabulary.background is not None:
        colours[0] = _BACKGROUND
    strips = [_strip(sample, colours, ignored) for sample in samples]
    names = {vocabulary.names[label]: colours[label] for label in labels}
    if any((sample.label == ignored).any() for sample in samples):
        names["not scored"] = _MAT
    return _page(strips, names)


@dataclass(frozen=True, slots=True)
class _Strip:
    """Tiles of one sample, side by side, and what is written below them."""

    tiles: Sequence[Pillow.Image]
    caption: str


def _strip(sample: Sample, colours: Mapping[int, RGB], ignored: int) -> _Strip:
    tiles = [_fit(sample.image), _overlay(sample.image, sample.label, colours, ignored)]
    if sample.prompt is not None:
        for query in sample.prompt.vocabulary.classes:
            tiles[:0] = [_outlined(shown.image, shown.mask) for shown in query.exemplars]
    return _Strip(tiles, sample.id)


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


def _colour(place: int) -> RGB:
    saturation, brightness = _SHADES[place % len(_SHADES)]
    red, green, blue = colorsys.hsv_to_rgb(place * _GOLDEN_RATIO % 1, saturation, brightness)
    return round(255 * red), round(255 * green), round(255 * blue)


def _scale(height: int, width: int) -> tuple[int, int]:
    """Width and height inside a tile, in proportion."""
    factor = min(TILE[0] / width, TILE[1] / height)
    return max(1, round(width * factor)), max(1, round(height * factor))


def _fit(image: Image) -> Pillow.Image:
    size = _scale(*image.shape[:2])
    return _matted(Pillow.fromarray(image).resize(size, Pillow.Resampling.BILINEAR))


def _overlay(
    image: Image, label: LabelMap, colours: Mapping[int, RGB], ignored: int
) -> Pillow.Image:
    size = _scale(*image.shape[:2])
    faint = np.asarray(Pillow.fromarray(image).resize(size, Pillow.Resampling.BILINEAR))
    small = _nearest(label, size)
    table = np.full((int(small.max()) + 1, 3), _MAT, dtype=np.float32)
    for value, colour in colours.items():
        if value < len(table):
            table[value] = colour
    shown = 0.65 * table[small] + 0.35 * faint
    shown[(small == ignored) & _hatching(small.shape)] = 160
    shown[_edges(small)] = 255
    return _matted(Pillow.fromarray(shown.astype(np.uint8)))


def _outlined(image: Image, mask: npt.NDArray[np.bool_] | None) -> Pillow.Image:
    """The picture, faint outside the object."""
    size = _scale(*image.shape[:2])
    shown = np.array(Pillow.fromarray(image).resize(size, Pillow.Resampling.BILINEAR))
    if mask is not None:
        inside = _nearest(mask.astype(np.uint8), size)
        shown[inside == 0] = shown[inside == 0] // 3 + 150
        shown[_edges(inside)] = (230, 25, 75)
    return _matted(Pillow.fromarray(shown))


def _nearest(label: LabelMap, size: tuple[int, int]) -> LabelMap:
    rows = (np.arange(size[1]) + 0.5) * label.shape[0] // size[1]
    columns = (np.arange(size[0]) + 0.5) * label.shape[1] // size[0]
    nearest: LabelMap = label[rows.astype(int)[:, None], columns.astype(int)]
    return nearest


def _edges(label: LabelMap) -> npt.NDArray[np.bool_]:
    """Where the next pixel to the right or below is another region's."""
    edges = np.zeros(label.shape, dtype=bool)
    edges[:, :-1] |= label[:, 1:] != label[:, :-1]
    edges[:-1] |= label[1:] != label[:-1]
    return edges


def _hatching(shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    hatched: npt.NDArray[np.bool_] = (rows + columns) % 6 < 2
    return hatched


def _matted(picture: Pillow.Image) -> Pillow.Image:
    tile = Pillow.new("RGB", TILE, _MAT)
    tile.paste(picture, ((TILE[0] - picture.width) // 2, (TILE[1] - picture.height) // 2))
    return tile


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"
