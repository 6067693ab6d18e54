"""Mean and deviation over seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovbench.errors import UsageError
from ovbench.harness.results.seeds import (
    directory_of_seed,
    keep_summary,
    over_seeds,
    parse_seeds,
    summary_line,
)

MIOU, ACCURACY = [66.1, 66.5, 66.2], [90.0, 91.5, 90.3]


def results() -> list[dict[str, Any]]:
    return [
        {
            "run": {"id": f"id{seed}", "seed": seed, "method": "m", "dataset": "d"},
            "metrics": {
                "miou": miou,
                "pixel_accuracy": accuracy,
                "boundary_iou": None if seed == 43 else 50.0,
                "miou_ci95": [0.0, 100.0],
            },
        }
        for seed, miou, accuracy in zip((42, 43, 44), MIOU, ACCURACY, strict=True)
    ]


def test_mean_and_sample_deviation_of_what_every_seed_has() -> None:
    found = over_seeds(results())
    assert list(found["metrics"]) == ["miou", "pixel_accuracy"]
    for name, values in (("miou", MIOU), ("pixel_accuracy", ACCURACY)):
        assert found["metrics"][name]["values"] == values
        assert found["metrics"][name]["mean"] == pytest.approx(np.mean(values))
        assert found["metrics"][name]["std"] == pytest.approx(np.std(values, ddof=1))
    assert (found["seeds"], found["runs"]) == ([42, 43, 44], ["id42", "id43", "id44"])
    assert summary_line(found) == "mIoU 66.3 ± 0.2 over seeds 42, 43, 44"


def test_the_summary_lies_beside_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = over_seeds(results())
    assert directory_of_seed(tmp_path / "out", 43) == tmp_path / "out" / "seed-43"
    assert directory_of_seed(None, 43) is None
    kept = keep_summary(found, tmp_path / "out")
    assert kept == tmp_path / "out" / "seeds.json"
    assert json.loads(kept.read_text()) == found
    default = keep_summary(found, None)
    assert default.parent.name.startswith("m-d-seeds-")
    assert default == keep_summary(found, None)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file: is no folder, so nothing can be written"):
        keep_summary(found, tmp_path / "file")


@pytest.mark.parametrize("text", ["", "42", "1,1", "1,-2", "1,x", "1,,2", "1.5,2"])
def test_other_than_two_seeds_or_more_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--seeds"):
        parse_seeds(text)
    assert parse_seeds("42, 7") == (42, 7)
