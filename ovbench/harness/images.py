"""Images and label maps in files.

EXIF orientation is not applied: the benchmarks' label maps are drawn on the pixels as stored,
so a picture that was turned would no longer lie under its labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from ovbench.errors import DataError
from ovbench.harness.atomic import replacing
from ovbench.harness.protocol import Image, LabelMap

# Pillow warns above 89 million pixels and refuses above 179 million; satellite and panorama
# sets have such files, and a benchmark's own archive is not hostile.
Pillow.MAX_IMAGE_PIXELS = 1 << 30

_BROKEN = (OSError, SyntaxError, ValueError, Pillow.DecompressionBombError)


def read_image(path: Path) -> Image:
    """Read a picture of any Pillow mode as RGB, ``(H, W, 3)`` uint8.

    16-bit grey keeps its high byte; transparency is dropped.

    Raises:
        DataError: missing, truncated or not an image; names the file.
    """
    with _opened(path) as file:
        if file.mode.startswith("I"):
            grey = np.clip(np.asarray(file), 0, 0xFFFF) >> 8
            return to_rgb(grey.astype(np.uint8))
        # A copy, because what Pillow hands out is read-only and torch warns of such arrays.
        return np.array(file.convert("RGB"))


def read_label(path: Path) -> LabelMap:
    """Read an index or palette label map, ``(H, W)``, with the indices as stored.

    Returns:
        uint8, or uint16 from a 16-bit file.

    Raises:
        DataError: missing, truncated, or not an index map; names the file and what it holds.
    """
    with _opened(path) as file:
        if file.mode in ("P", "L"):
            return np.array(file)
        if file.mode.startswith("I;16"):
            return np.asarray(file).astype(np.uint16)
        raise DataError(
            f"{path}: a label map needs one index per pixel (palette or grey PNG), "
            f"this file's mode is {file.mode}"
        )


def to_rgb(array: npt.NDArray[np.uint8]) -> Image:
    """Bring a grey ``(H, W)`` or ``(H, W, 1)`` or an RGBA ``(H, W, 4)`` array to RGB.

    Raises:
        ValueError: any other shape or dtype.
    """
    if array.dtype != np.uint8:
        raise ValueError(f"images are uint8, not {array.dtype}")
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[-1] not in (1, 3, 4):
        raise ValueError(f"images are (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), not {array.shape}")
    if array.shape[-1] == 1:
        return np.repeat(array, 3, axis=-1)
    return np.ascontiguousarray(array[..., :3])


def write_label(path: Path, label: LabelMap, palette: npt.NDArray[np.uint8] | None = None) -> None:
    """Write a label map so that a reader sees the old file or the new one, never a part.

    Args:
        path: of a PNG.
        label: ``(H, W)``; uint8 is written with a palette, uint16 as 16-bit grey. Both keep
            the indices.
        palette: ``(N, 3)`` RGB for uint8 labels; the default is :func:`voc_palette`.

    Raises:
        ValueError: any other shape or dtype.
    """
    if label.ndim != 2 or label.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"label maps are (H, W) uint8 or uint16, not {label.shape} {label.dtype}")
    picture = Pillow.fromarray(label)
    if label.dtype == np.uint8:
        picture.putpalette((voc_palette() if palette is None else palette).tobytes())
    with replacing(path) as temporary:
        picture.save(temporary, "PNG")


def voc_palette(n: int = 256) -> npt.NDArray[np.uint8]:
    """The first ``n`` colours of PASCAL VOC's label files, ``(n, 3)`` uint8.

    Colour ``i`` spreads the bits of ``i`` over the high bits of its channels (VOCcolormap.m of
    the development kit), so neighbours differ strongly and index 0 is black.
    """
    index = np.arange(n)[:, None]
    channel = np.arange(3)
    colour = np.zeros((n, 3), dtype=np.uint8)
    for place in range(8):
        colour |= (((index >> (3 * place + channel)) & 1) << (7 - place)).astype(np.uint8)
    return colour


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """An image file, decoded; whatever is wrong with it becomes a DataError."""
    try:
        with Pillow.open(path) as file:
            file.load()
            yield file
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: not an image; fetch the file again") from None
    except _BROKEN as error:
        raise DataError(f"{path}: {_reason(error)}") from None


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    what = str(error) or type(error).__name__
    return f"corrupt ({what.splitlines()[0]}); fetch the file again"
