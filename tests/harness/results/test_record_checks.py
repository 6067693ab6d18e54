"""Lines with a right checksum that cannot be of the run they lie in."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovbench.errors import UsageError
from ovbench.harness.files.lines import content_of, with_checksum
from ovbench.harness.metrics.boundary import BoundaryAreas
from ovbench.harness.metrics.scores import Confusion, Void
from ovbench.harness.results.records import Cost, ImageRecord, Session, encode
from ovbench.harness.results.store import RunStore

Edit = Callable[[dict[str, Any]], object]


def integers(*values: int) -> Any:
    return np.array(values, np.int64)


def line(key: bytes = b"") -> bytes:
    """An image of 20 pixels: 9 of label 0, 6 of label 1 and 5 ignored ones."""
    record = ImageRecord(
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
    return encode(record, key)


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
    "more pixels are counted than the image's 20": put("pixels", value=[7, 2**62, 2**62]),
    "19 pixels are counted, the image has 20": put("pixels", value=[6, 2, 6]),
    "lists of whole numbers": put("pixels", value=[7.0, 2.5, 6.0]),
    "whole numbers": put("gt", value=["0", "0", "1"]),
    "lists of whole": put("gt", value=[[0, 0, 1]]),
    "too large": put("pixels", value=[7, 2, 2**70]),
    "None is no number of pixels": put("size", value=None),
    "20.0 is no number of pixels": put("size", value=20.0),
    "-20 is no number of pixels": put("size", value=-20),
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


@pytest.mark.parametrize("reason", IMPOSSIBLE)
def test_what_cannot_be_is_named(store: RunStore, reason: str) -> None:
    content = content_of(line())
    IMPOSSIBLE[reason](content)
    (store.shards / "rank-0.jsonl").write_bytes(with_checksum(content, store.key))
    with pytest.raises(UsageError, match=rf"rank-0\.jsonl:1: .*{reason}"):
        store.records()


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
