"""Images and label maps in files.

A picture is read for its looks, a label map for its numbers: these are the indices as stored,
whatever the depth of the file. Pillow hands over grey of less than 8 bits stretched to 0..255,
and that is undone here.

EXIF orientation is not applied: the benchmarks' label maps are drawn on the pixels as stored,
so a picture that was turned would no longer lie under its labels.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from ovbench.errors import DataError
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.files.atomic import replacing
from ovbench.harness.files.regular import regular

MAX_PIXELS = 1 << 28
"""Of one file; as RGB that is 0.8 GB. Satellite and panorama sets have files of 180 million."""

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000")
"""What is read as a picture. Pillow knows more, some of which start other programs."""

LABEL_FORMATS = ("PNG", "TIFF")
"""What keeps an index as it was written."""

_OTHER_SUFFIXES = (".tif", ".tiff", ".gif", ".bmp", ".png", ".PNG")
"""Of files that keep their values and may lie where another kind is looked for."""

# The limit is kept below, in a line that names the file. Pillow's own is a warning first.
Pillow.MAX_IMAGE_PIXELS = None
# Of damaged tags that no pixel depends on; it names lines of its own code, and no file.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

_EXACT_IN_FLOAT32 = 1 << 24
_LEVELS = {"1": 1, "L;2": 3, "L;4": 15}
"""Greatest index of the grey files whose values Pillow stretches to 0..255."""
_SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
_TURNED = 0x0112
"""The EXIF tag of the orientation; 1 means as stored."""

Content = TypeVar("Content")


class ColourLabelError(DataError):
    """A file of colours where one of indices is needed."""


def read_image(path: Path, *, upright: bool = False) -> Image:
    """Read a picture as RGB, ``(H, W, 3)`` uint8.

    16-bit grey keeps its high byte; transparency is dropped.

    Args:
        upright: turn it as its EXIF orientation says, for pictures that no labels lie on.

    Raises:
        DataError: missing, truncated, too large or not an image; 32-bit values, whose range
            nobody knows. Names the file.
    """

    def rgb(stored: _Stored) -> Image:
        picture = ImageOps.exif_transpose(stored.picture) if upright else stored.picture
        if picture.mode == "F" or picture.mode.startswith("I"):
            if stored.raw not in (*_SIXTEEN_BITS, "I;12"):
                raise DataError(
                    f"{path}: a picture of mode {picture.mode} ({stored.raw}) has no known "
                    "range; convert it to 8 bits per channel"
                )
            grey = np.asarray(picture) >> (4 if stored.raw == "I;12" else 8)
            return to_rgb(grey.astype(np.uint8))
        # A copy, because what Pillow hands out is read-only and torch warns of such arrays.
        return np.array(picture.convert("RGB"))

    return _read(path, rgb)


def read_label(path: Path) -> LabelMap:
    """Read an index or palette label map, ``(H, W)``, with the indices as stored.

    Returns:
        uint8 up to 8 bits a pixel, uint16 from 16-bit files, uint32 from 32-bit integers and
        from floats, all of which must be whole numbers.

    Raises:
        ColourLabelError: a file of colours.
        DataError: missing, truncated, too large, of a format that does not keep indices, or
            not an index map; names the file and what it holds.
    """
    return _read(path, lambda stored: _indices(path, stored), lossless=True)


def read_mask(path: Path) -> npt.NDArray[np.bool_]:
    """Read a mask, ``(H, W)``: True wherever it is not black, at any depth.

    Raises:
        DataError: as :func:`read_colours`.
    """

    def drawn(stored: _Stored) -> npt.NDArray[np.bool_]:
        picture = stored.picture
        deep = picture.mode == "F" or picture.mode.startswith("I")
        values = np.asarray(picture)[..., None] if deep else _colours(path, stored)
        return np.asarray((values != 0).any(axis=-1))

    return _read(path, drawn, lossless=True)


def read_colours(path: Path) -> Image:
    """Read a mask whose colours stand for something, as RGB ``(H, W, 3)`` uint8.

    Raises:
        DataError: missing, truncated, too large, more than 8 bits per channel, or of a format
            that does not keep colours; names the file.
    """
    return _read(path, lambda stored: _colours(path, stored), lossless=True)


def is_turned(path: Path) -> bool:
    """Whether a picture says in its EXIF data that it should be shown turned."""
    return _read(path, lambda stored: int(stored.picture.getexif().get(_TURNED, 1))) != 1


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


@dataclass(frozen=True, slots=True)
class _Stored:
    """A decoded file.

    Attributes:
        picture: Pillow's image.
        raw: how a pixel is stored, in Pillow's words, such as ``"L;2"``.
    """

    picture: Any
    raw: str


def _read(path: Path, take: Callable[[_Stored], Content], *, lossless: bool = False) -> Content:
    """What is wanted of an image file; whatever is wrong with the file becomes a DataError.

    Args:
        lossless: refuse formats that may change a value.
    """
    _require_file(path)
    try:
        with Pillow.open(path, formats=FORMATS) as file:
            _require_size(path, file.size)
            if lossless:
                _require_lossless(path, file)
            raw = _raw_mode(file)
            file.load()
            return take(_Stored(file, raw))
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError(f"{path}: not an image; fetch the file again") from None
    except MemoryError:
        raise DataError(f"{path}: too large for the memory of this machine") from None
    except Exception as error:  # decoders raise anything on a damaged file
        raise DataError(f"{path}: {_reason(error)}") from None


def _require_file(path: Path) -> None:
    """Say what is wrong with what is there, before a decoder does."""
    try:
        regular(path)
    except FileNotFoundError:
        if path.is_symlink():
            target = os.readlink(path)
            raise DataError(f"{path}: a link to {target}, which is not there") from None
        others = (path.with_suffix(suffix) for suffix in _OTHER_SUFFIXES)
        other = next((one.name for one in others if one.exists()), None)
        hint = f", but {other} is there; save it as {path.name}" if other else ""
        raise DataError(f"{path}: no such file{hint}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: cannot be read ({reason})") from None


def _require_size(path: Path, size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise DataError(
            f"{path}: {width}x{height} pixels; files of up to {MAX_PIXELS:,} pixels are read"
        )


def _require_lossless(path: Path, file: Any) -> None:
    compression = str(file.info.get("compression", "")) if file.format == "TIFF" else ""
    if file.format not in LABEL_FORMATS or compression in ("jpeg", "tiff_jpeg", "webp"):
        what = f"{file.format} ({compression})" if compression else file.format
        raise DataError(
            f"{path}: holds {what} data, which need not keep values as they were written; "
            "labels and masks are PNG"
        )


def _raw_mode(file: Any) -> str:
    """How the pixels are stored; loading forgets it."""
    arguments = file.tile[0][3] if file.tile else file.mode
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _indices(path: Path, stored: _Stored) -> LabelMap:
    mode, raw = stored.picture.mode, stored.raw
    if mode == "P":
        return np.array(stored.picture)
    if mode in ("1", "L"):
        values = np.array(stored.picture.convert("L"))
        if "I" in raw.partition(";")[2]:  # a TIFF in which 0 is white, shown the right way round
            values = 255 - values
            raw = raw.replace("I", "").removesuffix(";")
        levels = _LEVELS.get(raw.replace("R", "").removesuffix(";"), 255)
        return values // np.uint8(255 // levels)
    if mode == "F" or mode.startswith("I"):
        return _whole(
            path, np.asarray(stored.picture), np.uint16 if "16" in mode + raw else np.uint32
        )
    raise ColourLabelError(
        f"{path}: a label map needs one index per pixel (palette or grey PNG), "
        f"this file's mode is {mode}"
    )


def _whole(path: Path, values: npt.NDArray[Any], dtype: type[np.unsignedinteger[Any]]) -> LabelMap:
    """Wide values as labels, which are whole, not negative and exact."""
    limit = _EXACT_IN_FLOAT32 if values.dtype.kind == "f" else np.inf
    with np.errstate(invalid="ignore"):
        wrong = ~((values >= 0) & (values <= limit) & (values == np.trunc(values)))
    if wrong.any():
        raise DataError(
            f"{path}: a label map needs whole numbers from 0 up, this file holds {values[wrong][0]}"
        )
    return values.astype(dtype)


def _colours(path: Path, stored: _Stored) -> Image:
    if "16" in stored.raw and not stored.picture.mode.startswith("I"):
        raise DataError(f"{path}: 16 bits per channel ({stored.raw}); masks of colours have 8")
    picture = stored.picture
    if picture.mode == "F" or picture.mode.startswith("I"):
        values = _indices(path, stored)
        if values.max(initial=0) > 255:
            raise DataError(f"{path}: values above 255; masks of colours have 8 bits per channel")
        return to_rgb(values.astype(np.uint8))
    return np.array(picture.convert("RGB"))


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    what = str(error) or type(error).__name__
    return f"corrupt ({what.splitlines()[0]}); fetch the file again"
