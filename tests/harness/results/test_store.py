from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovbench.errors import OvbenchError, UsageError
from ovbench.harness.files.json_files import write_json
from ovbench.harness.metrics.boundary import BoundaryAreas
from ovbench.harness.metrics.scores import UNANSWERED, Confusion, Void
from ovbench.harness.results.records import BadImage, Cost, ImageRecord, Session, decode, encode
from ovbench.harness.results.store import RunStore, ShardWriter, identity_digest

IMAGES = ("a", "b", "c", "r0", "r1", "r2")


def identity(**parts: Any) -> dict[str, Any]:
    return {"vocabulary": {"names": ["background", "cat"]}, **parts}


def image_record(name: str, pixels: int = 5) -> ImageRecord:
    one = np.array([1])
    return ImageRecord(
        name,
        2 * pixels + 1,
        Confusion(
            one.astype(np.int32),
            one.astype(np.int32),
            np.array([pixels]),
            Void(np.array([0, UNANSWERED], np.int32), np.array([pixels, 1])),
        ),
        BoundaryAreas(one, one, one, one),
        Cost(0.001, 0.25, 0.002, {"encode": 0.2}, batch=2, warmup=True, rss=10),
    )


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    store = RunStore(tmp_path / "run")
    store.claim(identity(method="x"), IMAGES)
    return store


@given(st.text(min_size=1), st.integers(1, 2**40))
def test_records_survive_encoding(name: str, pixels: int) -> None:
    record = image_record(name, pixels)
    line = encode(record)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    again = decode(line)
    assert isinstance(again, ImageRecord)
    assert (again.image, again.cost) == (name, record.cost)
    assert again.confusion.pixels.tolist() == [pixels]
    assert again.confusion.void is not None
    assert again.confusion.void.pred.tolist() == [0, UNANSWERED]
    assert encode(again) == line


def test_bad_images_and_sessions_survive_encoding() -> None:
    bad = BadImage("a", "truncated")
    session = Session("2026", "ovbench run", 0, 1, 4, "cpu", 0.5, {"text": 0.4}, {"python": "3"})
    assert decode(encode(bad)) == bad
    assert decode(encode(session)) == session


def test_a_torn_line_is_left_out_and_written_over(store: RunStore) -> None:
    with ShardWriter(store, 0) as shard:
        shard.append([image_record("a"), image_record("b")])
    path = store.shards / "rank-0.jsonl"
    whole = path.read_bytes()
    for cut in range(1, len(encode(image_record("b")))):
        path.write_bytes(whole[:-cut])
        assert set(store.records().images) == {"a"}
        with ShardWriter(store, 0) as shard:
            shard.append([image_record("c")])
        assert set(store.records().images) == {"a", "c"}


def test_a_shard_that_is_only_a_torn_line(store: RunStore) -> None:
    (store.shards / "rank-0.jsonl").write_bytes(b'{"image": "a"' + b" " * 100_000)
    with ShardWriter(store, 0) as shard:
        shard.append([image_record("b")])
    assert set(store.records().images) == {"b"}


def test_a_line_that_is_not_a_record_is_named(store: RunStore) -> None:
    (store.shards / "rank-0.jsonl").write_bytes(encode(image_record("a"), store.key) + b"{}\n")
    with pytest.raises(UsageError, match=r"rank-0.jsonl:2: not a whole record"):
        store.records()


def test_an_image_counts_once_however_many_shards_hold_it(store: RunStore) -> None:
    for rank in range(3):
        with ShardWriter(store, rank) as shard:
            shard.append([image_record("a"), image_record(f"r{rank}")])
    records = store.records()
    assert set(records.images) == {"a", "r0", "r1", "r2"}
    assert records.images["a"].confusion.pixels.tolist() == [5]


def test_a_good_record_heals_a_bad_one(store: RunStore) -> None:
    with ShardWriter(store, 0) as shard:
        shard.append([BadImage("a", "truncated"), image_record("a"), BadImage("b", "missing")])
    records = store.records()
    assert set(records.images) == {"a"}
    assert set(records.bad) == {"b"}


def test_a_good_record_in_an_earlier_shard_heals_a_bad_one_in_a_later(store: RunStore) -> None:
    for rank, record in ((1, BadImage("a", "truncated")), (0, image_record("a"))):
        with ShardWriter(store, rank) as shard:
            shard.append([record])
    records = store.records()
    assert set(records.images) == {"a"}
    assert records.bad == {}


def test_sessions_are_in_order_of_time_not_of_rank(store: RunStore) -> None:
    def session(started: str, rank: int, world_size: int) -> Session:
        return Session(started, "", rank, world_size, 1, "cpu", 0.0, {}, {})

    with ShardWriter(store, 0) as shard:
        shard.append([session("2026-01-01T00:00:00", 0, 2), session("2026-01-02T00:00:00", 0, 1)])
    with ShardWriter(store, 1) as shard:
        shard.append([session("2026-01-01T00:00:00", 1, 2)])
    assert [s.world_size for s in store.records().sessions] == [2, 2, 1]


def test_two_processes_cannot_write_one_shard(store: RunStore) -> None:
    with ShardWriter(store, 0), pytest.raises(OvbenchError, match="another process"):
        ShardWriter(store, 0)
    ShardWriter(store, 0).__exit__(None, None, None)


def test_a_directory_belongs_to_one_run(store: RunStore) -> None:
    store.claim(identity(method="x"), IMAGES)
    with pytest.raises(UsageError, match=r"holds another run \(differs in: method\)"):
        store.claim(identity(method="y"), IMAGES)
    assert store.identity() == identity(method="x")


def test_the_difference_is_named_to_the_leaf(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.claim({"settings": {"layer": 1, "head": 2}, "seed": 0}, IMAGES)
    with pytest.raises(UsageError, match=r"differs in: settings\.layer\)"):
        store.claim({"settings": {"layer": 3, "head": 2}, "seed": 0}, IMAGES)


def test_identity_ignores_the_order_of_keys() -> None:
    assert identity_digest({"a": 1, "b": [2]}) == identity_digest({"b": [2], "a": 1})
    assert identity_digest({"a": 1}) != identity_digest({"a": 2})


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_broken_run_json_is_one_clear_line(store: RunStore) -> None:
    (store.path / "run.json").write_text("{")
    with pytest.raises(UsageError, match=r"run\.json: not readable"):
        store.identity()
