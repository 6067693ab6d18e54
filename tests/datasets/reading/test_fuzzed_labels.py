"""Damaged label files and lists: an answer or one line, soon, and nothing outside of the folder.

200 mutations of label files and 200 of lists, each drawn from its own number.
"""

from __future__ import annotations

import io
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from fuzzing import seconds
from PIL import Image
from raw_files import PALETTE, chunk, index_png, index_tiff, png, wide_tiff

from ovbench.datasets import load_dataset
from ovbench.errors import OvbenchError
from ovbench.harness.files.images import write_label
from ovbench.harness.run.predictions import AnsweredDataset, PredictionFiles, score_folder

MUTATIONS = 200
SECONDS = 20
"""For one file; each takes some milliseconds."""

CLASSES = "# animals\n0: background, grass\n1: cat, kitten\n2: dog\n3: cow\n255: (ignore)\n"
SPLIT = "a\nb\n"
ROWS = [[0, 1, 2, 3] * 4, [3, 2, 1, 0] * 4] * 6


def saved(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.array(ROWS, np.uint8)).save(file, kind, **options)
    return file.getvalue()


ORIGINALS = [
    index_png(ROWS, 2),
    index_png(ROWS, 4),
    index_png(ROWS, 8),
    index_png(ROWS, 16),
    index_png(ROWS, 4, PALETTE),
    index_tiff(ROWS, 2),
    index_tiff(ROWS, 4, 0),
    wide_tiff(np.array(ROWS, np.uint16)),
    wide_tiff(np.array(ROWS, np.int32)),
    wide_tiff(np.array(ROWS, np.float32)),
    saved("TIFF", compression="tiff_lzw"),
    saved("JPEG"),
    saved("BMP"),
    saved("GIF"),
    saved("WEBP"),
]


def bytes_changed(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 8])):
        place = rng.randrange(len(changed))
        changed[place] = rng.choice([0, 255, changed[place] ^ 1 << rng.randrange(8)])
    return bytes(changed)


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def part_repeated(content: bytes, rng: random.Random) -> bytes:
    start, size = rng.randrange(len(content)), rng.randrange(1, 64)
    return content[:start] + content[start : start + size] * rng.randrange(2, 9) + content[start:]


def checksums_mended(content: bytes, rng: random.Random) -> bytes:
    """A PNG whose header lies, or whose data is damaged, with checksums that hold."""
    bits, colour = rng.choice([0, 1, 2, 4, 8, 16, 255]), rng.choice([0, 2, 3, 4, 6, 7])
    width, height = (rng.choice([0, 1, 16, 17, 9_000, 1 << 20, 0xFFFFFFFF]) for _ in "wh")
    lines = b"".join(bytes([rng.randrange(9)]) + rng.randbytes(16) for _ in range(12))
    data = zlib.compress(lines)
    if rng.random() < 0.3:
        data = bytes_changed(data, rng)
    built = png(data, width, height, bits, colour)
    if rng.random() < 0.3:
        bomb = b"big\0\0" + zlib.compress(bytes(1 << 22))
        built = built[:33] + chunk(rng.choice([b"zTXt", b"iCCP"]), bomb) + built[33:]
    return built


def tags_changed(content: bytes, rng: random.Random) -> bytes:
    """A TIFF with strange tags."""
    changed = bytearray(rng.choice([c for c in ORIGINALS if c[:2] == b"II"]))
    (start,) = struct.unpack_from("<I", changed, 4)
    (count,) = struct.unpack_from("<H", changed, start)
    for _ in range(rng.randrange(1, 4)):
        entry = start + 2 + 12 * rng.randrange(count)
        value = rng.choice([0, 1, 2, 3, 5, 16, 64, 1 << 16, (1 << 32) - 1])
        struct.pack_into("<I", changed, entry + rng.choice([4, 8]), value)
    return bytes(changed)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of two images."""
    for part in ("images", "masks"):
        (tmp_path / "data" / part).mkdir(parents=True)
    for name in "ab":
        picture = Image.fromarray(np.zeros((12, 16, 3), np.uint8))
        picture.save(tmp_path / "data" / "images" / f"{name}.png")
        write_label(tmp_path / "data" / "masks" / f"{name}.png", np.array(ROWS, np.uint8))
    (tmp_path / "data" / "classes.txt").write_text(CLASSES)
    (tmp_path / "data" / "few.txt").write_text(SPLIT)
    return tmp_path / "data"


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of damaged tags
def test_damaged_label_files(root: Path, tmp_path: Path) -> None:
    dataset = load_dataset("folder", root=root)
    mine = tmp_path / "mine"
    mine.mkdir()
    write_label(mine / "b.png", np.array(ROWS, np.uint8))
    mask, intact = root / "masks" / "a.png", (root / "masks" / "a.png").read_bytes()
    ways = (bytes_changed, bytes_changed, cut, part_repeated, checksums_mended, tags_changed)
    answered = refused = 0
    for number in range(MUTATIONS):
        rng = random.Random(number)
        content = rng.choice(ways)(rng.choice(ORIGINALS), rng)
        (mine / "a.png").write_bytes(content)
        files = AnsweredDataset(dataset, PredictionFiles(mine, dataset.ids), "index", "miss")
        for reader in (files, dataset):
            mask.write_bytes(content if reader is dataset else intact)
            try:
                with seconds(SECONDS):
                    reader.load(0)
                answered += 1
            except OvbenchError as error:
                refused += 1
                line = str(error)
                assert "\n" not in line, number
                assert "a.png" in line, number
        mask.write_bytes(intact)
        if number % 50 == 0:
            before = everything(tmp_path)
            try:
                with seconds(SECONDS):
                    score_folder(mine, dataset, unanswered="miss", output=tmp_path / f"run{number}")
            except OvbenchError as error:
                assert "\n" not in str(error), number  # noqa: PT017
            new = everything(tmp_path) - before
            own = (f"run{number}", "cache")
            assert {name for name in new if not name.startswith(own)} == set(), number
    assert answered > 20  # else nothing but the first check of a file was tried
    assert refused > 100


STRANGE = [
    *("\0", "\ufeff", "\u2028", "\x1b[2J", "\r", "\r\n", "\t", "\n\n", "\\", "~", "..", "é"),
    *("#", "#1 shirt", ":", ",", ";", "=", "(ignore)", "3: (ignore)", "[/red]", "cat", "Cat"),
    *("255", "256: x", "99999999999999999999: x", "1 2 3: x", "-1: x", "²: x", "٣: x"),
    *("../../a", "/etc/passwd", "a/../..", "x" * 5000),
]


def text_changed(text: str, rng: random.Random) -> bytes:
    for _ in range(rng.choice([1, 1, 2, 5])):
        start = rng.randrange(len(text) + 1)
        end = min(len(text), start + rng.choice([0, 0, 1, 7]))
        text = text[:start] + rng.choice(STRANGE) + text[end:]
    content = text.encode()
    if rng.random() < 0.2:
        place = rng.randrange(len(content) + 1)
        content = content[:place] + rng.choice([b"\xff", b"\xc3", b"\xfe\xff"]) + content[place:]
    return content


def test_damaged_lists(root: Path) -> None:
    before = everything(root.parent)
    opened = refused = 0
    for number in range(MUTATIONS):
        rng = random.Random(number)
        classes, split = CLASSES.encode(), SPLIT.encode()
        if number % 2:
            classes = text_changed(CLASSES, rng)
        else:
            split = text_changed(SPLIT, rng)
        (root / "classes.txt").write_bytes(classes)
        (root / "few.txt").write_bytes(split)
        try:
            with seconds(SECONDS):
                dataset = load_dataset("folder", root=root, split="few")
                for image in dataset.ids:
                    path = dataset.images.source(image)  # type: ignore[attr-defined]
                    assert path.resolve().is_relative_to(root), number
                dataset.load(0)
            opened += 1
        except OvbenchError as error:
            refused += 1
            assert "\n" not in str(error), number  # noqa: PT017 - many errors, one by one
    assert everything(root.parent) == before
    assert opened > 20
    assert refused > 60
