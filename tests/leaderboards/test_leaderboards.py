from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ovbench.errors import UsageError
from ovbench.leaderboards.markdown import to_markdown
from ovbench.leaderboards.marks import marks
from ovbench.leaderboards.table import boards, find_results

GOLDEN = Path(__file__).parent / "golden"


def result(method: str, miou: float | None, **run: Any) -> dict[str, Any]:
    """A result with the fields a leaderboard reads; numbers are made up."""
    return {
        "schema_version": 2,
        "run": {
            "id": method.replace("|", "-"), "method": method, "changes": {},
            "preset": None, "dataset": "voc", "variant": None, "subset": None,
            "split": "val", "background": "class", "classes": "all", "checkpoints": "real",
            "num_images": 1449, "ids_sha256": "f" * 64, "limit": None, "complete": True,
            "bad_images": [], "warnings": [], "device": "cpu", "precision": "fp32",
            "batch_size": 1, **run,
        },
        "checkpoints": [{"role": "clip", "name": "x", "revision": None, "sha256": None}],
        "vocabulary": {"source": "voc/plain", "sha256": "a" * 64, "names": ["background"]},
        "metrics": {
            "miou": miou, "miou_ci95": [None, None] if miou is None else [miou - 1, miou + 1],
            "pixel_accuracy": 80.0, "mean_accuracy": 60.126, "boundary_iou": None,
        },
        "profile": {
            "per_image_s": {"mean": 0.12345}, "prepare_s": 1.5, "peak_gpu_bytes": None,
            "peak_rss_bytes": 3 * 2**30,
        },
    }  # fmt: skip


def several() -> list[dict[str, Any]]:
    made = [
        result("slow|one", 40.0),
        result("best", 51.234, preset="paper"),
        result("tuned", 50.0, preset="paper", changes={"layer": 8, "blur": False}),
        result("broken", None),
        result("partial", 45.0, complete=False, bad_images=[{"image": "x", "reason": "y"}]),
        result("told", 70.0, classes="oracle"),
        result("small", 60.0, checkpoints="toy", dataset="toyworld", num_images=500),
        result("first", 55.0, limit=10, num_images=10, ids_sha256="e" * 64),
    ]
    renamed = result("renamed", 65.0)
    renamed["vocabulary"] = {"source": "voc/sclip", "sha256": "b" * 64, "names": ["background"]}
    return [*made, renamed]


def test_markdown_is_stable_to_the_byte() -> None:
    text = to_markdown(boards(several()))
    assert text == (GOLDEN / "leaderboard.md").read_text(encoding="utf-8")
    assert to_markdown(boards(several()[::-1])) == text


def test_only_comparable_runs_are_ranked_together() -> None:
    ranked = [[row["run"]["method"] for row in board.rows] for board in boards(several())]
    assert ["best", "tuned", "partial", "slow|one", "broken"] in ranked
    assert sorted(map(len, ranked)) == [1, 1, 1, 1, 5]


def test_a_run_given_twice_counts_once() -> None:
    (board,) = boards([result("a", 1.0), copy.deepcopy(result("a", 1.0))])
    assert len(board.rows) == 1


def test_marks() -> None:
    told = result("m", 1.0, classes="oracle", checkpoints="toy", limit=3, num_images=3,
                  complete=False, warnings=["odd count"])  # fmt: skip
    found = marks(told)
    assert [m.split(":")[0] for m in found] == [
        "class oracle", "toy weights", "only the first 3 images", "incomplete", "odd count"
    ]  # fmt: skip
    assert marks(result("m", 1.0)) == []


def test_results_are_found_in_runs_folders_and_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(json.dumps(result(name, 1.0)))
    assert len(find_results([tmp_path])) == 2
    assert len(find_results([tmp_path / "a", tmp_path / "b" / "result.json", tmp_path])) == 2
    with pytest.raises(UsageError, match=r"nowhere: no result\.json"):
        find_results([tmp_path / "nowhere"])
    (tmp_path / "a" / "result.json").write_text("{}")
    with pytest.raises(UsageError, match="not a result"):
        find_results([tmp_path])


def test_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json.dumps(result("a", 12.345)))
    command = [sys.executable, "-m", "ovbench", "leaderboard", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == to_markdown(boards([result("a", 12.345)]))


def test_a_result_of_another_schema_is_refused(tmp_path: Path) -> None:
    old = {**result("old", 50.0), "schema_version": 1}
    (tmp_path / "result.json").write_text(json.dumps(old))
    with pytest.raises(UsageError, match=r"written with schema 1, this ovbench reads 2; measure"):
        find_results([tmp_path])
