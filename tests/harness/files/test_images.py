from __future__ import annotations

import os
import socket
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
from raw_files import COLOUR, GREY, PALETTE, index_png, index_tiff, png, wide_tiff

from ovbench.errors import DataError
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.files.images import (
    is_turned,
    read_colours,
    read_image,
    read_label,
    read_mask,
    to_rgb,
    voc_palette,
    write_label,
)

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


def test_deep_grey_keeps_its_high_byte(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    high = RGB[..., 0]
    low = RGB[..., 1]
    Image.fromarray(high.astype(np.uint16) * 256 + low).save(path)
    assert (read_image(path) == high[..., None]).all()


def test_stored_orientation_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees to show"
    Image.fromarray(RGB).save(path, exif=exif)
    assert read_image(path).shape == RGB.shape
    turned = np.rot90(read_image(path), -1)
    assert (read_image(path, upright=True) == turned).all()
    assert is_turned(path)


@pytest.mark.parametrize(
    ("width", "height", "message"),
    [
        # Pillow refuses this one by default; here only its data is missing.
        (14_000, 13_000, r"corrupt \(.*truncated"),
        (40_000, 40_000, "40000x40000 pixels; files of up to 268,435,456 pixels are read"),
        (200_000, 200_000, "200000x200000 pixels; files of up to"),
    ],
)
@pytest.mark.parametrize("reader", [read_image, read_label])
def test_a_large_picture_is_no_attack_and_a_bomb_is_not_set_off(
    tmp_path: Path, reader: Callable[[Path], object], width: int, height: int, message: str
) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(png(b"", width, height))
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with pytest.raises(DataError, match=message):
            reader(path)


@pytest.mark.parametrize(
    ("bits", "colour"),
    [*((bits, colour) for bits in (1, 2, 4, 8) for colour in (GREY, PALETTE)), (16, GREY)],
)
def test_a_png_is_read_as_the_indices_it_stores(tmp_path: Path, bits: int, colour: int) -> None:
    last = 2**bits - 1
    rows = [[0, 1, last, last // 2, last // 3], [last, last, 0, 1, 0]]
    path = tmp_path / "label.png"
    path.write_bytes(index_png(rows, bits, colour))
    label = read_label(path)
    assert label.tolist() == rows
    assert label.dtype == (np.uint16 if bits == 16 else np.uint8)


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_tiff_is_read_as_the_indices_it_stores(
    tmp_path: Path, bits: int, photometric: int
) -> None:
    last = 2**bits - 1
    rows = [[0, 1, last, last // 2, last // 3], [last, last, 0, 1, 0]]
    path = tmp_path / "label.png"  # the name does not decide what is inside
    path.write_bytes(index_tiff(rows, bits, photometric))
    assert read_label(path).tolist() == rows


@pytest.mark.parametrize(
    ("dtype", "read_as"),
    [("u2", np.uint16), ("i2", np.uint16), ("u4", np.uint32), ("i4", np.uint32), ("f4", np.uint32)],
)
def test_wide_whole_numbers_are_labels(tmp_path: Path, dtype: str, read_as: type) -> None:
    path = tmp_path / "label.tif"
    path.write_bytes(wide_tiff(np.array([[0, 1, 300], [32_767, 2, 1]], dtype)))
    label = read_label(path)
    assert label.tolist() == [[0, 1, 300], [32_767, 2, 1]]
    assert label.dtype == read_as


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(-1, "i2"), (-1, "i4"), (0.5, "f4"), (np.nan, "f4"), (np.inf, "f4"), (2.0**25, "f4")],
)
def test_what_is_no_label_is_refused(tmp_path: Path, value: float, dtype: str) -> None:
    path = tmp_path / "label.tif"
    path.write_bytes(wide_tiff(np.array([[0, value]], dtype)))
    with pytest.raises(
        DataError, match="needs whole numbers from 0 up, this file holds "
    ) as caught:
        read_label(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", ["i4", "u4", "f4"])
def test_a_picture_without_a_known_range_is_refused(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "image.tif"
    path.write_bytes(wide_tiff(np.array([[0, 200]], dtype)))
    with pytest.raises(DataError, match="has no known range; convert it to 8 bits per channel"):
        read_image(path)


@pytest.mark.parametrize("options", [{"format": "JPEG"}, {"format": "TIFF", "compression": "jpeg"}])
@pytest.mark.parametrize("reader", [read_label, read_mask, read_colours])
def test_lossy_bytes_are_no_labels_whatever_their_name(
    tmp_path: Path, reader: Callable[[Path], object], options: dict[str, str]
) -> None:
    path = tmp_path / "label.png"
    Image.fromarray(RGB[..., 0]).save(path, **options)
    with pytest.raises(DataError, match=f"holds {options['format']}.* data, .* masks are PNG"):
        reader(path)


@pytest.mark.parametrize(
    "content",
    [
        index_png([[0, 1, 0, 200]], 16),
        index_png([[0, 1, 0, 3]], 2),
        index_png([[0, 1, 0, 1]], 1),
        wide_tiff(np.array([[0, 7, 0, 70_000]], np.int32)),
        wide_tiff(np.array([[0, 0.25, 0, 1]], np.float32)),
    ],
)
def test_a_mask_is_what_is_not_black_at_any_depth(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mask.png"
    path.write_bytes(content)
    assert read_mask(path).tolist() == [[False, True, False, True]]


def test_a_mask_of_deep_colours_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    path.write_bytes(png(zlib.compress(b"\0" + bytes([0, 1] * 3)), 1, 1, 16, COLOUR))
    for reader in (read_mask, read_colours):
        with pytest.raises(DataError, match="16 bits per channel"):
            reader(path)


def test_a_pipe_is_not_waited_for_and_a_link_to_nothing_says_so(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        for reader in (read_image, read_label, read_mask):
            for path in (tmp_path / "pipe.png", tmp_path / "s", Path("/dev/zero")):
                with pytest.raises(DataError, match="a pipe, socket or device"):
                    reader(path)
            with pytest.raises(DataError, match=r"a link to .*gone\.png, which is not there"):
                reader(tmp_path / "link.png")


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
        (lambda p: p.write_bytes(saved()[:-30]), r"corrupt \(.+\); fetch the file again"),
        (lambda p: p.write_bytes(saved(damaged=True)), r"corrupt \(.+\); fetch the file again"),
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


def saved(damaged: bool = False) -> bytes:
    """A grey picture's file; damaged in the middle of its data on request."""
    file = BytesIO()
    Image.fromarray(RGB[..., 0]).save(file, "PNG")
    content = bytearray(file.getvalue())
    if damaged:
        start = content.index(b"IDAT") + 4
        content[start : start + 20] = b"\xff" * 20
    return bytes(content)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
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
