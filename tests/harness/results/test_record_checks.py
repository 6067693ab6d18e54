"""Lines with a right checksum that cannot be of the run they lie in."""

from __future__ import annotations

import json
import struct
import zlib
from base64 import b64encode
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovbench.errors import UsageError
from ovbench.harness.files.lines import content_of, with_checksum
from ovbench.harness.metrics.boundary import BoundaryAreas
from ovbench.harness.metrics.scores import Confusion, Void
from ovbench.harness.results.packed import pack, unpack
from ovbench.harness.results.records import (
    Cost,
    ImageRecord,
    Session,
    counts_of,
    decode,
    encode,
)
from ovbench.harness.results.store import RunStore, ShardWriter

Edit = Callable[[dict[str, Any]], object]


def integers(*values: int) -> Any:
    return np.array(values, np.int64)


RECORD = ImageRecord(
    "a",
    20,
    Confusion(
        integers(0, 0, 1).astype(np.int32),
        integers(0, 1, 1).astype(np.int32),
        integers(7, 2, 6),
        Void(integers(-1, 1).astype(np.int32), integers(1, 4)),
    ),
    BoundaryAreas(integers(0, 1), integers(3, 2), integers(4, 2), integers(3, 5)),
    Cost(0.001, 0.25, 0.002, {"encode": 0.2}, batch=2, warmup=True, rss=10),
)
"""An image of 20 pixels: 9 of label 0, 6 of label 1 and 5 ignored ones."""

# The same, as it was written before counts were packed.
SPELT_OUT = (
    b'{"image":"a","size":20,"gt":[0,0,1],"pred":[0,1,1],"pixels":[7,2,6],"void":{"pred":[-1,1],'
    b'"pixels":[1,4]},"boundary":{"labels":[0,1],"intersection":[3,2],"gt":[4,2],"pred":[3,5]},'
    b'"cost":{"wait_s":0.001,"compute_s":0.25,"evaluate_s":0.002,"stages_s":{"encode":0.2},'
    b'"batch":2,"warmup":true,"rss":10,"gpu_allocated":null,"gpu_reserved":null},"crc":"20b9e848"}'
)


def line(key: bytes = b"") -> bytes:
    """As it was written before counts were packed: its lists can be edited one by one."""
    return with_checksum(content_of(SPELT_OUT), key)


def row(code: str, *numbers: int) -> str:
    """Numbers as a line has them."""
    return code + b64encode(struct.pack(f"<{len(numbers)}{code}", *numbers)).decode()


def packed(**parts: Any) -> dict[str, Any]:
    """The counts of a line of today, with some parts in place of its own."""
    content = content_of(encode(RECORD))
    return {**content, "counts": {**content["counts"], **parts}}


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    store = RunStore(tmp_path)
    store.claim({"vocabulary": {"names": ["background", "cat"]}}, ["a", "b"])
    return store


def put(*path: str, value: Any) -> Edit:
    def edit(content: dict[str, Any]) -> None:
        for name in path[:-1]:
            content = content[name]
        content[path[-1]] = value

    return edit


IMPOSSIBLE: dict[str, Edit] = {
    "'c' is no image of this run": put("image", value="c"),
    "its image has no name": put("image", value=7),
    r"label 2 \(ground truth\) is outside": put("gt", value=[0, 0, 2]),
    r"label -2 \(prediction\) is outside": put("pred", value=[0, -2, 1]),
    r"label -2 \(ignored pixels\) is outside": put("void", "pred", value=[-2, 1]),
    "far outside any vocabulary": put("gt", value=[0, 0, 2**32]),
    "counted twice or out of order": put("pred", value=[1, 0, 1]),
    "a pair of labels is counted twice": put("pred", value=[0, 0, 1]),
    "counts are incomplete": put("pixels", value=[7, 8]),
    "ignored pixels are incomplete": put("void", "pixels", value=[5]),
    "a count of pixels is below 1": put("pixels", value=[7, 0, 8]),
    "count of pixels is below 1": put("void", "pixels", value=[-1, 6]),
    "more pixels are counted than the image's 20": put("pixels", value=[7, 2**40, 2**40]),
    "19 pixels are counted, the image has 20": put("pixels", value=[6, 2, 6]),
    "lists of whole numbers": put("pixels", value=[7.0, 2.5, 6.0]),
    "whole numbers": put("gt", value=["0", "0", "1"]),
    "lists of whole": put("gt", value=[[0, 0, 1]]),
    "too large": put("pixels", value=[7, 2, 2**70]),
    "is too large for": put("pixels", value=[7, 2**62, 2**62]),
    "None is no number of pixels": put("size", value=None),
    "20.0 is no number of pixels": put("size", value=20.0),
    "-20 is no number of pixels": put("size", value=-20),
    f"{2**70} is no number of pixels": put("size", value=2**70),
    r"label 3 \(boundary\)": put("boundary", "labels", value=[0, 3]),
    "a boundary is counted twice or out of order": put("boundary", "labels", value=[1, 0]),
    "a boundary is counted twice": put("boundary", "labels", value=[1, 1]),
    "its boundary counts are incomplete": put("boundary", "pred", value=[3]),
    "share more pixels than one of them has": put("boundary", "intersection", value=[4, 2]),
    "a count of boundary pixels is below 0": put("boundary", "intersection", value=[3, -2]),
    "more boundary pixels are counted": put("boundary", "gt", value=[19, 2]),
    "a time is impossible": put("cost", "compute_s", value=-0.1),
    "a time is": put("cost", "stages_s", value={"encode": "long"}),
    "time is impossible": put("cost", "wait_s", value=True),
    "a peak is impossible": put("cost", "rss", value=1.5),
    "its batch is impossible": put("cost", "batch", value=0),
    "batch is impossible": put("cost", "warmup", value=1),
    "unexpected keyword argument 'price'": put("cost", "price", value=1),
    "it has no 'gt'": lambda content: content.pop("gt"),
}


def test_the_record_is_possible_before_it_is_edited(store: RunStore) -> None:
    (store.shards / "rank-0.jsonl").write_bytes(line(store.key))
    assert set(store.records().images) == {"a"}


def test_lines_of_older_versions_say_the_same() -> None:
    old, new = decode(SPELT_OUT), decode(encode(RECORD))
    assert isinstance(old, ImageRecord)
    assert isinstance(new, ImageRecord)
    assert counts_of(old) == counts_of(new) == counts_of(RECORD)
    assert old.cost == new.cost == RECORD.cost
    dtypes = [a.dtype for a in (new.confusion.gt, new.confusion.pixels, new.boundary.labels)]
    assert dtypes == [np.int32, np.int64, np.int32]


def test_packed_numbers_are_those_of_the_documentation() -> None:
    counts = content_of(encode(RECORD))["counts"]
    assert {name: counts[name] for name in ("pairs", "void", "edges")} == {
        "pairs": 3, "void": 2, "edges": 2,
    }  # fmt: skip
    labels = [0, 0, 1, 0, 1, 1, -1, 1, 0, 1]
    assert counts["labels"] == row("b", *labels)
    assert counts["pixels"] == row("B", 7, 2, 6, 1, 4, 3, 2, 4, 2, 3, 5)


@given(st.lists(st.integers(1, 2**40), min_size=1, max_size=5), st.booleans())
def test_counts_of_any_size_survive(pixels: list[int], void: bool) -> None:
    labels = np.arange(len(pixels), dtype=np.int32) * 300
    ignored = Void(labels - 1, integers(*pixels)) if void else None
    counted = Confusion(labels, labels, integers(*pixels), ignored)
    edges = BoundaryAreas(labels[:1], *np.array([[1], [2], [3]]))
    again, around = unpack(json.loads(json.dumps(pack(counted, edges))))
    for one, other in ((counted, again), (edges, around), (ignored, again.void)):
        if one is not None:
            for name in type(one).__slots__:
                if name != "void":
                    np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert (again.void is None) == (ignored is None)


UNREADABLE: dict[str, dict[str, Any]] = {
    "counts are incomplete": {"pairs": 2},
    "its counts are incomplete": {"labels": "BAAAH"},
    "packed in no known way": {"labels": "ZAAAH"},
    "packed in no known": {"pixels": ""},
    "packed into text": {"pixels": [1, 2, 3]},
    "lengths are no whole numbers": {"pairs": 3.0},
    "lengths are no whole": {"void": -1},
    "its lengths are no": {"edges": True},
    "base64-encoded": {"labels": "BA"},
    "multiple of element size|buffer size": {"labels": "iAAAA"},
    "base64|alphabet|data": {"labels": "B!!!!"},
    "far outside any image": {
        "pixels": "q" + b64encode(struct.pack("<11q", *[2**50] * 11)).decode()
    },
    "a label or a count is far": {
        "labels": "q" + b64encode(struct.pack("<10q", *[-(2**40)] * 10)).decode()
    },
    "outside the vocabulary": {"labels": "B" + b64encode(bytes([9] * 10)).decode()},
    "a count of pixels is below 1": {"pixels": "B" + b64encode(bytes(11)).decode()},
}


@pytest.mark.parametrize("reason", UNREADABLE)
def test_counts_that_cannot_be_unpacked_are_named(store: RunStore, reason: str) -> None:
    shard = store.shards / "rank-0.jsonl"
    shard.write_bytes(with_checksum(packed(**UNREADABLE[reason]), store.key))
    with pytest.raises(UsageError, match=rf"rank-0\.jsonl:1: .*({reason})"):
        store.records()
    assert store.drop_bad()
    assert not store.records().images


def test_a_record_is_read_again_where_it_stands(store: RunStore) -> None:
    shard = store.shards / "rank-0.jsonl"
    other = {**content_of(line()), "image": "b"}
    shard.write_bytes(with_checksum(packed(), store.key) + with_checksum(other, store.key))
    images = store.records().images
    assert [counts_of(images[name]) for name in "ba"] == [counts_of(RECORD)] * 2
    shard.write_bytes(with_checksum(other, store.key))
    with pytest.raises(UsageError, match="changed while it was read"):
        images["a"]


@pytest.mark.parametrize("reason", IMPOSSIBLE)
def test_what_cannot_be_is_named(store: RunStore, reason: str) -> None:
    content = content_of(line())
    IMPOSSIBLE[reason](content)
    (store.shards / "rank-0.jsonl").write_bytes(with_checksum(content, store.key))
    with pytest.raises(UsageError, match=rf"rank-0\.jsonl:1: .*{reason}"):
        store.records()


@pytest.mark.parametrize("reason", IMPOSSIBLE)
def test_what_cannot_be_takes_no_other_line_with_it(store: RunStore, reason: str) -> None:
    bad = content_of(line())
    IMPOSSIBLE[reason](bad)
    lines = (content_of(line()), bad, {**content_of(line()), "image": "b"})
    shard = store.shards / "rank-0.jsonl"
    shard.write_bytes(b"".join(with_checksum(content, store.key) for content in lines))
    (told,) = store.drop_bad()
    assert told.startswith(f"{shard}:2: ")
    assert list(store.records().images) == ["a", "b"]


def test_an_image_without_scored_pixels_lies_between_others(store: RunStore) -> None:
    none = integers().astype(np.int32)
    void = Void(integers(1).astype(np.int32), integers(5))
    empty = Confusion(none, none, integers(), void)
    bare = ImageRecord("b", 5, empty, BoundaryAreas(*[integers()] * 4), RECORD.cost)
    with ShardWriter(store, 0) as shard:
        shard.append([bare, RECORD, bare])
    records = store.records()
    assert list(records.images) == ["b", "a"]
    assert records.tally.areas().gt.tolist() == [[0, 0], [9, 6]]


def test_a_time_beyond_all_numbers_is_none(store: RunStore) -> None:
    body = line().rpartition(b',"crc"')[0].replace(b"0.25", b"1e999")
    crc = zlib.crc32(body, zlib.crc32(store.key))
    (store.shards / "rank-0.jsonl").write_bytes(b'%b,"crc":"%08x"}\n' % (body, crc))
    with pytest.raises(UsageError, match="a time is impossible"):
        store.records()


@pytest.mark.parametrize(
    "session",
    [
        {"started": 5},
        {"world_size": -1},
        {"prepare_s": None},
        {"environment": []},
        {"prepare_stages_s": [1]},
    ],
)
def test_an_impossible_session_is_named(store: RunStore, session: dict[str, Any]) -> None:
    whole = asdict(Session("2026", "", 0, 1, 1, "cpu", 0.5, {}, {}))
    shard = store.shards / "rank-0.jsonl"
    shard.write_bytes(with_checksum({"session": whole}, store.key))
    assert len(store.records().sessions) == 1
    shard.write_bytes(with_checksum({"session": {**whole, **session}}, store.key))
    with pytest.raises(UsageError, match=r"rank-0\.jsonl:1: the header of a session is impossible"):
        store.records()


def test_an_image_is_recorded_once_or_twice_alike(store: RunStore) -> None:
    first = line(store.key)
    other = content_of(line())
    other["pixels"] = [6, 3, 6]
    slower = content_of(line())
    slower["cost"]["compute_s"] = 9.0
    shard = store.shards / "rank-0.jsonl"
    shard.write_bytes(first + with_checksum(slower, store.key))
    assert set(store.records().images) == {"a"}
    shard.write_bytes(first + with_checksum(other, store.key))
    with pytest.raises(UsageError, match=r"rank-0\.jsonl:2: 'a' is recorded twice"):
        store.records()


def test_the_same_images_line_of_another_run_is_foreign(store: RunStore, tmp_path: Path) -> None:
    other = RunStore(tmp_path / "other")
    names = ["background", "cat"]
    other.claim({"vocabulary": {"names": names}, "method": "another"}, ["a", "b"])
    for place in (other, store):
        (place.shards / "rank-0.jsonl").write_bytes(line(other.key))
    assert set(other.records().images) == {"a"}
    with pytest.raises(UsageError, match=r"rank-0\.jsonl:1: not as it was written here"):
        store.records()
