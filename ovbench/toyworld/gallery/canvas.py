"""Tiles with captions, set in rows: the only layout that the gallery knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

RGB: TypeAlias = npt.NDArray[np.uint8]

CAPTION = 26
"""Height in pixels of the strip below a tile."""

_GAP, _INK, _PAPER = 8, (60, 60, 60), (255, 255, 255)

_HEAT = np.array(
    [(0, 0, 0), (60, 16, 90), (140, 40, 110), (220, 80, 70), (250, 160, 40), (252, 250, 170)],
    np.float32,
)

_WHEEL = [
    "#e6194b",
    "#3cb44b",
    "#ffe119",
    "#4363d8",
    "#f58231",
    "#911eb4",
    "#46f0f0",
    "#f032e6",
    "#bcf60c",
    "#fabebe",
    "#1f6f3a",
    "#17becf",
    "#e8c98f",
    "#8c3b2a",
    "#9bd0ff",
]
COLOURS = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in _WHEEL], np.uint8)
"""A colour for every class, ``(15, 3)``."""


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A picture ``(H, W, 3)`` uint8 and what is written below it."""

    image: RGB
    caption: str = ""


def sheet(rows: Sequence[Sequence[Tile]], zoom: int = 2) -> PilImage.Image:
    """Set equally large tiles in rows, every pixel enlarged to ``zoom`` by ``zoom``."""
    height, width = (side * zoom for side in rows[0][0].image.shape[:2])
    columns = max(len(row) for row in rows)
    size = (columns * (width + _GAP) - _GAP, len(rows) * (height + CAPTION))
    page = PilImage.new("RGB", size, _PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(14)
    for i, row in enumerate(rows):
        for j, tile in enumerate(row):
            left, top = j * (width + _GAP), i * (height + CAPTION)
            page.paste(PilImage.fromarray(_enlarged(tile.image, zoom)), (left, top))
            draw.text((left, top + height + 4), tile.caption, _INK, font)
    return page


def _enlarged(image: RGB, zoom: int) -> RGB:
    return np.ascontiguousarray(image).repeat(zoom, axis=0).repeat(zoom, axis=1)


def heat(values: npt.NDArray[np.floating], image: RGB | None = None) -> RGB:
    """Values from their lowest (dark) to their highest (bright), over a faint picture."""
    span = max(float(values.max() - values.min()), 1e-12)
    place = (values - values.min()) / span * (len(_HEAT) - 1)
    low = np.minimum(place.astype(int), len(_HEAT) - 2)
    share = (place - low)[..., None]
    colours = _HEAT[low] * (1 - share) + _HEAT[low + 1] * share
    if image is not None:
        colours = 0.7 * colours + 0.3 * image
    shown: RGB = colours.astype(np.uint8)
    return shown


def paint(labels: npt.NDArray[np.integer]) -> RGB:
    """Every class in its colour."""
    colours: RGB = COLOURS[labels]
    return colours


def tint(image: RGB, mask: npt.NDArray[np.bool_]) -> RGB:
    """The picture where the mask is, and a faint one elsewhere."""
    faint = (image.mean(axis=2, keepdims=True) * 0.25 + 190).astype(np.uint8)
    shown: RGB = np.where(mask[..., None], image, faint.repeat(3, axis=2))
    return shown


def principal_colours(features: npt.NDArray[np.floating]) -> RGB:
    """The first three principal components of ``(N, h, w, d)`` features as red, green, blue."""
    flat = features.reshape(-1, features.shape[-1]).astype(np.float64)
    centred = flat - flat.mean(axis=0)
    _, _, axes = np.linalg.svd(np.cov(centred.T))
    parts = centred @ axes[:3].T
    low, high = np.quantile(parts, [0.02, 0.98], axis=0)
    scaled: RGB = (np.clip((parts - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    return scaled.reshape(*features.shape[:-1], 3)
