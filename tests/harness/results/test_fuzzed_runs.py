"""Damaged run directories: the same numbers, or one line that names the file.

Every kind of file is damaged in 200 ways, by seed (:mod:`fuzzing`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fuzzing import mutated, seconds

from ovbench.errors import OvbenchError, UsageError
from ovbench.harness.files.json_files import parse, read_json, write_json
from ovbench.harness.registry.settings_file import given_settings
from ovbench.harness.results.rescore import finish
from ovbench.harness.results.store import RunStore
from ovbench.harness.run.runner import evaluate
from ovbench.harness.tune.trials import Trial, TrialLog
from ovbench.leaderboards.formats.publish import publish
from ovbench.leaderboards.gates.comparison import compare
from ovbench.leaderboards.gates.pins import against_pins, pin, read_pins
from ovbench.leaderboards.tables.table import find_results

SEEDS = range(200)


@pytest.fixture
def run(tmp_path: Path, memory_dataset: Any, thresholds: Any) -> Path:
    """A finished run of four images."""
    path = tmp_path / "run"
    evaluate(thresholds, memory_dataset(count=4), output=path)
    return path


def numbers(result: Any) -> Any:
    return result["metrics"], result["per_class"], result["run"]["num_images"]


def said(read: Callable[[], Any]) -> str:
    """The line in which reading ends; empty where it does not."""
    try:
        with seconds(20):
            read()
    except OvbenchError as error:
        return str(error)
    return ""


def fuzz(file: Path, read: Callable[[], Any]) -> None:
    """Read every damaged version of a file; what is read is as before, or an error names it."""
    whole, expected = file.read_bytes(), read()

    def compare() -> None:
        assert read() == expected

    named = 0
    for seed in SEEDS:
        file.write_bytes(mutated(whole, seed))
        line = said(compare)
        # A line that is gone is an image without a record, of which the directory is known.
        assert not line or str(file) in line or str(file.parents[1]) in line, seed
        assert "\n" not in line
        named += bool(line)
    file.write_bytes(whole)
    compare()
    assert named > 150


def test_shards(run: Path) -> None:
    fuzz(run / "records" / "rank-0.jsonl", lambda: numbers(finish(RunStore(run))))


def test_identities(run: Path) -> None:
    fuzz(run / "run.json", lambda: numbers(finish(RunStore(run))))


def test_results(run: Path) -> None:
    fuzz(run / "result.json", lambda: publish(find_results([run]), "json"))


def test_records_of_older_versions_have_no_checksum_and_yet_no_traceback(run: Path) -> None:
    shard, about = run / "records" / "rank-0.jsonl", run / "run.json"
    lines = [json.loads(line) for line in shard.read_text().splitlines()]
    old = [{k: v for k, v in line.items() if k not in ("crc", "size")} for line in lines]
    shard.write_text("".join(json.dumps(line) + "\n" for line in old))
    about.write_text(json.dumps({"identity": read_json(about)["identity"]}))
    for file in (shard, about):
        whole = file.read_bytes()
        for seed in SEEDS:
            file.write_bytes(mutated(whole, seed))
            line = said(lambda: finish(RunStore(run)))
            assert not line or str(run) in line, seed
        file.write_bytes(whole)


def test_pins(run: Path, tmp_path: Path) -> None:
    """A pin is edited by hand, so another value is no damage; it is a verdict, or one line."""
    results, folder = find_results([run]), tmp_path / "pins"
    (file,) = pin(results, folder)
    whole = file.read_bytes()
    for seed in SEEDS:
        file.write_bytes(mutated(whole, seed))
        line = said(lambda: (against_pins(results, read_pins(folder)), pin(results, folder)))
        assert not line or str(file) in line, seed
        for one in folder.iterdir():
            one.unlink()


def test_trials(tmp_path: Path) -> None:
    file = tmp_path / "search" / "tune" / "trials.jsonl"
    file.parent.mkdir(parents=True)
    trials = [Trial("maps", n, {"layer": n}, 1.5 + n, 0.5, [1.0, 0.5 + n], 0.1) for n in range(6)]
    with TrialLog(file) as log:
        for trial in trials:
            log.append(trial)
    whole = file.read_bytes()

    def read() -> None:
        with TrialLog(file) as log:
            assert all(trial in trials for trial in log.finished.values())

    for seed in SEEDS:
        file.write_bytes(mutated(whole, seed))
        line = said(read)
        assert not line or str(file) in line, seed


def test_settings(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    write_json(file, {"method": "peak", "settings": {"layer": 7, "sigma": 0.5, "name": "ä"}})
    whole = file.read_bytes()
    for seed in SEEDS:
        file.write_bytes(mutated(whole, seed))
        line = said(lambda: given_settings(file, "peak", None))
        assert not line or str(file) in line, seed


def damaged(run: Path, name: str, content: bytes) -> Path:
    path = run / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not readable as JSON"),
        (b"{}", "not written by ovbench|schema|not a result"),
        (b"[]", "expected a JSON object"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
        (b'{"schema_version": NaN}', "NaN is not JSON"),
        (b'{"schema_version": 3, "run": {}}', "not as it was written"),
        (b'{"identity": {}}', "missing or wrong|not a result"),
        (b'{"identity": []}', "not written by ovbench|not a result"),
        (b"\xff\xfe{}", "not readable as JSON"),
        (b'{"schema_version": 4}', "newer ovbench|not as it was written|reads 3"),
    ],
)
def test_files_that_are_something_else(run: Path, content: bytes, reason: str) -> None:
    file = damaged(run, "result.json", content)
    with pytest.raises(UsageError, match=f"(?s)result.json: .*({reason}).*ovbench rescore {run}`"):
        find_results([run])
    finish(RunStore(run))
    assert find_results([file])
    damaged(run, "run.json", content)
    for read in (lambda: finish(RunStore(run)), lambda: compare(run, run)):
        with pytest.raises(UsageError, match=f"(?s)run.json: .*({reason}).*--fresh"):
            read()


def test_a_byte_order_mark_before_json_is_no_part_of_it(run: Path) -> None:
    before = numbers(finish(RunStore(run)))
    for name in ("run.json", "result.json"):
        damaged(run, name, b"\xef\xbb\xbf" + (run / name).read_bytes())
    assert numbers(find_results([run])[0]) == before == numbers(finish(RunStore(run)))
    assert parse("\ufeff[1]") == [1]


def test_a_moved_run_gives_the_same_bytes(run: Path, tmp_path: Path) -> None:
    before = (run / "result.json").read_bytes()
    moved = tmp_path / "elsewhere" / "other name"
    moved.parent.mkdir()
    shutil.move(run, moved)
    (moved / "result.json").unlink()
    finish(RunStore(moved))
    assert (moved / "result.json").read_bytes() == before


def test_a_run_without_its_sessions_says_what_is_not_known(run: Path) -> None:
    before = numbers(finish(RunStore(run)))
    shard = run / "records" / "rank-0.jsonl"
    shard.write_bytes(shard.read_bytes().partition(b"\n")[2])
    result = finish(RunStore(run))
    assert numbers(result) == before
    assert result["run"]["device"] == "unknown"
    assert result["profile"]["prepare_s"] is None
    assert any("headers of its sessions are gone" in one for one in result["run"]["warnings"])
    for format in ("markdown", "html", "latex", "csv", "json"):
        publish([result], format)
    pin([result], run / "pins")
