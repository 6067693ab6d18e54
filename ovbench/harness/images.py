"""Images and label maps in files.

EXIF orientation is not applied: the benchmarks' label maps are drawn on the pixels as stored.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from ovbench.errors import DataError
from ovbench.harness.protocol import Image, LabelMap

# Pillow refuses above 179 million pixels by default; satellite and panorama sets have such
# files, and a benchmark's own archive is not hostile.
Pillow.MAX_IMAGE_PIXELS = 1 << 30

_BROKEN = (OSError, SyntaxError, ValueError, Pillow.DecompressionBombError)


def read_image(path: Path) -> Image:
    """Read a picture of any Pillow mode as RGB, ``(H, W, 3)`` uint8.

    Raises:
        DataError: missing, truncated or not an image; names the file.
    """
    with _opened(path) as file:
        if file.mode.startswith("I;16") or file.mode == "I":
            return to_rgb((np.asarray(file) >> 8).astype(np.uint8))
        return np.asarray(file if file.mode == "RGB" else file.convert("RGB"))


def read_label(path: Path) -> LabelMap:
    """Read an index or palette label map, ``(H, W)``, with the indices as stored.

    Returns:
        uint8, or uint16 from a 16-bit file.

    Raises:
        DataError: missing, truncated, or not an index map; names the file and what it holds.
    """
    with _opened(path) as file:
        if file.mode in ("P", "L"):
            return np.asarray(file)
        if file.mode.startswith("I;16"):
            return np.asarray(file).astype(np.uint16)
        raise DataError(
            f"{path}: a label map needs one index per pixel (palette or grey PNG), "
            f"this file's mode is {file.mode}"
        )


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) from the header alone.

    Raises:
        DataError: missing or not an image; names the file.
    """
    with _opened(path, decode=False) as file:
        return file.height, file.width


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


def write_label(path: Path, label: LabelMap) -> None:
    """Write a label map so that a reader sees the old file or the new one.

    uint8 becomes a PNG with the VOC palette, uint16 a 16-bit grey PNG; both keep the indices.
    """
    if label.dtype == np.uint8:
        picture = Pillow.fromarray(label, mode="P")
        picture.putpalette(voc_palette().tobytes())
    else:
        picture = Pillow.fromarray(label.astype(np.uint16))
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".png")
    try:
        with os.fdopen(handle, "wb") as file:
            picture.save(file, "PNG")
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def voc_palette() -> npt.NDArray[np.uint8]:
    """The colours of PASCAL VOC's label files, ``(256, 3)`` uint8.

    Colour ``i`` spreads the bits of ``i`` over the high bits of its channels (VOCcolormap.m of
    the development kit), so neighbours differ strongly and index 0 is black.
    """
    index = np.arange(256)[:, None]
    channel = np.arange(3)
    colour = np.zeros((256, 3), dtype=np.uint8)
    for place in range(8):
        colour |= (((index >> (3 * place + channel)) & 1) << (7 - place)).astype(np.uint8)
    return colour


class _opened:  # noqa: N801 - a context manager
    """An image file, decoded; whatever is wrong with it becomes a DataError."""

    def __init__(self, path: Path, decode: bool = True) -> None:
        self._path, self._decode = path, decode

    def __enter__(self) -> Pillow.Image:
        try:
            self._file = Pillow.open(self._path)
            if self._decode:
                self._file.load()
        except FileNotFoundError:
            raise DataError(f"{self._path}: no such file") from None
        except UnidentifiedImageError:
            raise DataError(f"{self._path}: not an image; fetch the file again") from None
        except _BROKEN as error:
            raise DataError(f"{self._path}: {_reason(error)}; fetch the file again") from None
        return self._file

    def __exit__(self, *_: Any) -> None:
        self._file.close()


def _reason(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return text.splitlines()[0]
