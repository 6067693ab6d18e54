from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovbench.datasets import load_dataset
from ovbench.datasets.choosing.choices import Choices
from ovbench.datasets.voc import open_voc
from ovbench.errors import DataError, UsageError
from ovbench.harness.files.images import write_label

Bytes = np.typing.NDArray[np.uint8]

VAL_IDS = [
    "2007_000033", "2007_000129", "2007_000332", "2007_000847", "2007_004189",
    "2007_006449", "2008_002536", "2009_002584", "2010_005582",
]  # fmt: skip


def home(root: Path) -> Path:
    return root / "VOCdevkit" / "VOC2012"


def raw_indices(path: Path) -> Bytes:
    """The palette indices of an unfiltered 8-bit PNG, unpacked without an image library."""
    data, position, pixels = path.read_bytes(), 8, b""
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind, body = data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        position += 12 + length
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack_from(">IIBB", body)
            assert (depth, colour) == (8, 3)
        elif kind == b"IDAT":
            pixels += body
    rows = np.frombuffer(zlib.decompress(pixels), np.uint8).reshape(height, width + 1)
    assert not rows[:, 0].any()  # filter type "none" in every row
    return rows[:, 1:]


def histogram(label: Bytes) -> dict[int, int]:
    values, counts = np.unique(label, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


@pytest.mark.parametrize(
    ("image", "expected", "pixels"),
    [
        (
            "2007_000033",
            {0: 143868, 1: 30937, 255: 8195},
            {(165, 431): 0, (183, 188): 1, (200, 40): 255},
        ),
        (
            "2007_000129",
            {0: 54389, 2: 34183, 15: 61143, 255: 17285},
            {(297, 120): 0, (373, 128): 2, (147, 120): 15, (239, 165): 255},
        ),
        (
            "2008_002536",
            {0: 129916, 12: 7321, 17: 13891, 255: 8372},
            {(178, 11): 0, (172, 92): 12, (113, 348): 17, (156, 44): 255},
        ),
    ],
)
def test_real_labels_hold_these_pixels(
    sample_data: Path, image: str, expected: dict[int, int], pixels: dict[tuple[int, int], int]
) -> None:
    dataset = load_dataset("voc", root=sample_data / "voc")
    sample = dataset.load(VAL_IDS.index(image))
    assert sample.id == image
    assert sample.image.shape == (*sample.label.shape, 3)
    assert sample.label.dtype == sample.image.dtype == np.uint8
    assert histogram(sample.label) == expected
    assert {place: int(sample.label[place]) for place in pixels} == pixels


def test_every_real_label_is_read_as_its_file_stores_it(sample_data: Path) -> None:
    dataset = load_dataset("voc21", root=sample_data / "voc")
    # 2007_000063 is a training image that lies in the folder, too.
    assert list(dataset.ids) == VAL_IDS
    for index, image in enumerate(VAL_IDS):
        stored = raw_indices(home(sample_data / "voc") / "SegmentationClass" / f"{image}.png")
        assert (dataset.load(index).label == stored).all()


def test_voc20_shifts_every_class_once(sample_data: Path) -> None:
    dataset = load_dataset("voc20", root=sample_data / "voc")
    assert dataset.info.background == "ignore"
    assert dataset.vocabulary.background is None
    for index, image in enumerate(VAL_IDS):
        stored = raw_indices(home(sample_data / "voc") / "SegmentationClass" / f"{image}.png")
        wide = stored.astype(int)
        expected = np.where((wide == 0) | (wide == 255), 255, wide - 1)
        assert (dataset.load(index).label == expected).all()


def test_a_class_keeps_its_name_under_both_rules(tiny_voc: Path) -> None:
    scored, left_out = (load_dataset(name, root=tiny_voc) for name in ("voc21", "voc20"))
    for index in range(len(scored.ids)):
        pairs = zip(scored.load(index).label.flat, left_out.load(index).label.flat, strict=True)
        for a, b in set(pairs):
            if b == 255:
                assert a in (0, 255)
            else:
                assert scored.vocabulary.names[a] == left_out.vocabulary.names[b]


@pytest.mark.parametrize(("split", "count"), [("train", 1464), ("val", 1449), ("trainval", 2913)])
def test_a_split_knows_its_official_size(tiny_voc: Path, split: str, count: int) -> None:
    lists = home(tiny_voc) / "ImageSets" / "Segmentation"
    (lists / f"{split}.txt").write_text("2007_000061\n\n2007_000027\n")
    dataset = load_dataset("voc", root=tiny_voc, split=split)
    assert dataset.ids == ["2007_000061", "2007_000027"]
    assert dataset.info.expected_images == count
    assert dataset.load(0).id == "2007_000061"


def test_a_tree_is_read_pixel_by_pixel(tiny_voc: Path) -> None:
    dataset = load_dataset("voc", root=tiny_voc)
    for index, image in enumerate(dataset.ids):
        sample = dataset.load(index)
        with Image.open(home(tiny_voc) / "JPEGImages" / f"{image}.jpg") as picture:
            assert (sample.image == np.asarray(picture)).all()
        with Image.open(home(tiny_voc) / "SegmentationClass" / f"{image}.png") as picture:
            assert picture.mode == "P"
            assert (sample.label == np.asarray(picture)).all()


@pytest.mark.parametrize("part", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_root_may_point_at_any_level(tiny_voc: Path, part: str) -> None:
    dataset = load_dataset("voc", root=tiny_voc / part)
    assert len(dataset.ids) == 5
    assert dataset.load(0).image.dtype == np.uint8


def write(path: Path, array: Bytes) -> None:
    Image.fromarray(array).save(path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: p.unlink(), "no such file"),
        (lambda p: p.write_bytes(p.read_bytes()[:60]), "fetch the file again"),
        (lambda p: p.write_bytes(b"<html>"), "not an image"),
        (lambda p: write(p, np.zeros((60, 60, 3), np.uint8)), "mode is RGB"),
        (lambda p: write(p, np.full((60, 60), 300, np.uint16)), r"\[300\] are unknown to voc"),
        (lambda p: write_label(p, np.full((60, 60), 77, np.uint8)), r"\[77\] are unknown to voc"),
        (
            lambda p: write_label(p, np.zeros((3, 4), np.uint8)),
            r"4x3 pixels, .* 2007_000027 has \d\dx\d\d;",
        ),
    ],
)
def test_a_spoilt_label_file_is_named(
    tiny_voc: Path, spoil: Callable[[Path], object], message: str
) -> None:
    path = home(tiny_voc) / "SegmentationClass" / "2007_000027.png"
    spoil(path)
    with pytest.raises(DataError, match=message) as caught:
        load_dataset("voc", root=tiny_voc).load(0)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_truncated_picture_is_named(tiny_voc: Path) -> None:
    path = home(tiny_voc) / "JPEGImages" / "2007_000027.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"2007_000027\.jpg: corrupt .*; fetch the file again"):
        load_dataset("voc", root=tiny_voc).load(0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "lists no images"),
        (b"\n \n", "lists no images"),
        (b"a\nb\na\n", r"lists a more than once \(lines 1 and 3\)"),
        (b"a\n/etc/passwd\n", "line 2: '/etc/passwd' would lie elsewhere"),
        (b"a\nb/../../c\n", "line 2: 'b/../../c' would lie elsewhere"),
        (b"C:\\a\n", "line 1: .* would lie elsewhere"),
        (b"a\x00b\n", "line 1: .* would lie elsewhere"),
        (b"a\n\xff\n", "not UTF-8 text"),
        (None, "cannot be read"),
    ],
)
def test_a_bad_list_is_named(tiny_voc: Path, content: bytes | None, message: str) -> None:
    path = home(tiny_voc) / "ImageSets" / "Segmentation" / "val.txt"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        load_dataset("voc", root=tiny_voc)
    assert str(caught.value).startswith(str(path))


def test_a_list_with_a_byte_order_mark_and_odd_blanks(tiny_voc: Path) -> None:
    path = home(tiny_voc) / "ImageSets" / "Segmentation" / "val.txt"
    ids = path.read_text().split()
    path.write_text("\r\n".join(ids) + "\r\n", encoding="utf-8-sig", newline="")
    dataset = load_dataset("voc", root=tiny_voc)
    assert list(dataset.ids) == ids
    dataset.load(0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"root": None}, "needs --root DIR or OVBENCH_DATA"),
        ({"root": Path("/nowhere")}, r"/nowhere: .*VOCtrainval_11-May-2012\.tar -C /nowhere"),
        ({"split": "test"}, "no split 'test'; it has train, val, trainval"),
        ({"background": "none"}, "'none' is not 'class' or 'ignore'"),
        ({"names": "sclp"}, "did you mean 'sclip'"),
    ],
)
def test_wrong_arguments_are_one_clear_line(
    tiny_voc: Path, arguments: dict[str, object], message: str
) -> None:
    asked = Choices(**{"root": tiny_voc, **arguments})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=message) as caught:
        open_voc(asked)
    assert "\n" not in str(caught.value)
