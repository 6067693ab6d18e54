from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from ovbench.errors import DataError
from ovbench.harness.images import read_image, read_label, to_rgb, voc_palette, write_label
from ovbench.harness.protocol import LabelMap

RGB = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
SHAPES = arrays.array_shapes(min_dims=2, max_dims=2, max_side=40)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_any_mode_is_read_as_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    picture = Image.fromarray(RGB).convert(mode)
    picture.save(path)
    image = read_image(path)
    assert image.dtype == np.uint8
    assert image.flags.writeable  # torch warns of arrays that are not
    assert (image == np.asarray(picture.convert("RGB"))).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_deep_grey_keeps_its_high_byte(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "image.tif"
    high = RGB[..., 0]
    low = RGB[..., 1]
    Image.fromarray(high.astype(dtype) * 256 + low).save(path)
    assert (read_image(path) == high[..., None]).all()


def test_stored_orientation_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees to show"
    Image.fromarray(RGB).save(path, exif=exif)
    assert read_image(path).shape == RGB.shape


def test_a_large_picture_is_no_attack(tmp_path: Path) -> None:
    """182 million pixels, above what Pillow refuses by default; here only their data is missing."""
    path = tmp_path / "image.png"
    size = struct.pack(">IIBBBBB", 14_000, 13_000, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b""))
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with pytest.raises(DataError, match=r"corrupt \(.*truncated"):
            read_image(path)


def chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk of a PNG file."""
    checksum = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + checksum


@given(arrays.arrays(st.sampled_from([np.uint8, np.uint16]), SHAPES), st.booleans())
def test_labels_survive_a_file(
    tmp_path_factory: pytest.TempPathFactory, label: LabelMap, transposed: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "label.png"
    label = label.T if transposed else label
    write_label(path, label)
    again = read_label(path)
    assert again.dtype == label.dtype
    assert again.flags.writeable
    assert (again == label).all()


@given(arrays.arrays(np.uint8, SHAPES), st.sampled_from(["P", "L"]))
def test_indices_are_read_as_stored_not_as_colours(
    tmp_path_factory: pytest.TempPathFactory, label: LabelMap, mode: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "stored.png"
    picture = Image.fromarray(label)
    if mode == "P":
        picture.putpalette(list(range(255, -1, -1)) * 3)
    assert picture.mode == mode
    picture.save(path)
    assert (read_label(path) == label).all()


def test_a_palette_colours_the_file(tmp_path: Path) -> None:
    path, label = tmp_path / "label.png", np.array([[0, 1], [2, 255]], np.uint8)
    write_label(path, label)
    with Image.open(path) as picture:
        assert (np.asarray(picture.convert("RGB")) == voc_palette()[label]).all()
    mine = RGB[:2, 0]
    write_label(path, label[:1], mine)
    with Image.open(path) as picture:
        assert (np.asarray(picture.convert("RGB")) == mine[label[:1]]).all()


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((2, 2), np.int64), np.zeros((2, 2, 1), np.uint8), np.zeros((2, 2), bool)],
)
def test_only_label_maps_are_written(tmp_path: Path, wrong: LabelMap) -> None:
    with pytest.raises(ValueError, match="label maps are"):
        write_label(tmp_path / "label.png", wrong)


def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, old = tmp_path / "label.png", np.ones((3, 3), np.uint8)
    write_label(path, old)

    def fail(source: Path, target: Path) -> None:
        assert source.parent == target.parent  # a rename across file systems is not atomic
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        write_label(path, old + 1)
    assert list(tmp_path.iterdir()) == [path]
    assert (read_label(path) == old).all()


def test_the_palette_is_vocs(sample_data: Path) -> None:
    folder = sample_data / "voc" / "VOCdevkit" / "VOC2012" / "SegmentationClass"
    with Image.open(folder / "2007_000033.png") as picture:
        assert picture.getpalette() == voc_palette().ravel().tolist()


def test_the_palette_spreads_the_bits_of_an_index() -> None:
    expected = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128)]
    assert [tuple(c) for c in voc_palette(5).tolist()] == expected
    assert voc_palette()[15].tolist() == [192, 128, 128]
    assert voc_palette()[255].tolist() == [224, 224, 192]


@pytest.mark.parametrize("reader", [read_image, read_label])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: None, "no such file"),
        (lambda p: p.mkdir(), r"cannot be read \("),
        (lambda p: p.write_text("not a picture"), "not an image; fetch the file again"),
        (lambda p: p.write_bytes(b""), "not an image; fetch the file again"),
        (lambda p: p.write_bytes(png()[:-30]), r"corrupt \(.+\); fetch the file again"),
        (lambda p: p.write_bytes(png(damaged=True)), r"corrupt \(.+\); fetch the file again"),
    ],
)
def test_an_unreadable_file_is_one_clear_line(
    tmp_path: Path,
    reader: Callable[[Path], object],
    spoil: Callable[[Path], object],
    message: str,
) -> None:
    path = tmp_path / "picture.png"
    spoil(path)
    with pytest.raises(DataError, match=message) as caught:
        reader(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def png(damaged: bool = False) -> bytes:
    """A grey picture's file; damaged in the middle of its data on request."""
    file = BytesIO()
    Image.fromarray(RGB[..., 0]).save(file, "PNG")
    content = bytearray(file.getvalue())
    if damaged:
        start = content.index(b"IDAT") + 4
        content[start : start + 20] = b"\xff" * 20
    return bytes(content)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "F", "1"])
def test_a_picture_is_not_taken_for_labels(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "label.tif"
    Image.fromarray(RGB).convert(mode).save(path)
    with pytest.raises(DataError, match=f"one index per pixel .* this file's mode is {mode}$"):
        read_label(path)


def test_arrays_are_brought_to_rgb() -> None:
    grey = RGB[..., 0]
    assert to_rgb(grey).shape == RGB.shape
    assert (to_rgb(grey) == grey[..., None]).all()
    assert (to_rgb(grey[..., None]) == grey[..., None]).all()
    assert (to_rgb(np.dstack([RGB, grey])) == RGB).all()
    assert to_rgb(np.dstack([RGB, grey])).flags.c_contiguous
    assert np.shares_memory(to_rgb(RGB), RGB)
    for wrong in (RGB.astype(float), RGB[..., :2], RGB[None]):
        with pytest.raises(ValueError, match="images are"):
            to_rgb(wrong)
