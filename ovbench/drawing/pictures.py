"""Pictures fitted into a box, plain or with labels over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from ovbench.drawing.colours import INVENTED, MAT, MISSED, MISTAKEN, RGB
from ovbench.harness.contract.arrays import Image, LabelMap

Box: TypeAlias = tuple[int, int]
"""Width and height that a picture is fitted into, in proportion."""

_OUTLINE = (230, 25, 75)


def fitted(image: Image, box: Box) -> Pillow.Image:
    """The picture itself."""
    return Pillow.fromarray(image).resize(_size(image, box), Pillow.Resampling.BILINEAR)


def overlay(
    image: Image, label: LabelMap, colours: Mapping[int, RGB], ignored: int, box: Box
) -> Pillow.Image:
    """Labels in colour over the faint picture, regions outlined in white.

    Args:
        colours: by label; others are drawn as mat.
        ignored: the label that is hatched.
    """
    picture = fitted(image, box)
    faint = np.asarray(picture)
    small = _nearest(label, picture.size)
    table = np.full((int(small.max()) + 1, 3), MAT, dtype=np.float32)
    for value, colour in colours.items():
        if value < len(table):
            table[value] = colour
    shown = 0.65 * table[small] + 0.35 * faint
    shown[(small == ignored) & _hatching(small.shape)] = 160
    shown[_edges(small)] = 255
    return Pillow.fromarray(shown.astype(np.uint8))


def errors(
    image: Image,
    label: LabelMap,
    prediction: LabelMap,
    background: int | None,
    ignored: int,
    box: Box,
) -> Pillow.Image:
    """What was answered wrongly, in colour over the grey picture; what is not scored is hatched.

    Args:
        background: its label, or None where there is none and every error is MISTAKEN.
        ignored: the label that is not scored.
    """
    picture = fitted(image, box)
    truth, answer = _nearest(label, picture.size), _nearest(prediction, picture.size)
    grey = np.asarray(picture.convert("L"), dtype=np.float32)[..., None]
    shown = np.repeat(0.6 * grey + 90, 3, axis=-1)
    kinds = np.full(truth.shape, 2)
    if background is not None:
        kinds[answer == background] = 0
        kinds[truth == background] = 1
    colours = np.array([MISSED, INVENTED, MISTAKEN], dtype=np.float32)[kinds]
    scored = truth != ignored
    wrong = (truth != answer) & scored
    shown[wrong] = 0.8 * colours[wrong] + 0.2 * grey[wrong]
    shown[_hatching(truth.shape) & ~scored] = 160
    return Pillow.fromarray(shown.astype(np.uint8))


def outlined(image: Image, mask: npt.NDArray[np.bool_] | None, box: Box) -> Pillow.Image:
    """The picture, faint outside the object; None shows it whole."""
    shown = np.array(fitted(image, box))
    if mask is not None:
        inside = _nearest(mask.astype(np.uint8), (shown.shape[1], shown.shape[0]))
        shown[inside == 0] = shown[inside == 0] // 3 + 150
        shown[_edges(inside)] = _OUTLINE
    return Pillow.fromarray(shown)


def _size(image: Image, box: Box) -> tuple[int, int]:
    """Width and height inside a box, in proportion."""
    height, width = image.shape[:2]
    factor = min(box[0] / width, box[1] / height)
    return max(1, round(width * factor)), max(1, round(height * factor))


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
