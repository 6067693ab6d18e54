"""Whether a run is done is known before its weights are loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ovbench.datasets import load_dataset
from ovbench.harness.registry.filters import load_filter
from ovbench.harness.registry.methods import load_method
from ovbench.harness.results.store import RunStore
from ovbench.harness.run.runner import Options, run_of
from ovbench.harness.suite.prospects import Prospects
from ovbench.harness.suite.wanted import Wanted

PLAIN = Wanted("maskclip", "toyworld", options={"limit": "2"})
SHOWN = {"limit": "2", "prompts": "train", "classes": "oracle"}


def claim(run: Wanted, folder: Path) -> None:
    """Begin a run as ``ovbench run`` does, with its weights."""
    options, classes = run.options, run.options.get("classes", "all")
    data = load_dataset(
        run.benchmark, names=run.names, prompts=options.get("prompts"), seed=run.seed
    )
    loaded = load_method(
        run.method,
        preset=run.preset,
        benchmark=data.info,
        settings=run.settings,
        device="cpu",
        precision=options.get("precision", "fp32"),  # type: ignore[arg-type]
        checkpoints="toy",
        seed=run.seed,
    )
    chooser = load_filter(runtime=loaded.subject.runtime) if classes == "predicted" else None
    how = Options(classes=classes, limit=2)  # type: ignore[arg-type]
    asked = run_of(loaded, data, class_filter=chooser, options=how)
    RunStore(folder).claim(asked.identity(), data.ids[:2])


@pytest.mark.parametrize(
    "run",
    [
        PLAIN,
        replace(PLAIN, preset="tcl", settings={"prompts": "single"}, seed=3),
        replace(PLAIN, options={"limit": "2", "classes": "predicted", "precision": "bf16"}),
        Wanted("persam", "toyworld", options=SHOWN, seed=5),
        Wanted("random", "toyworld_stuff", names="plain", options={"limit": "2"}),
    ],
    ids=lambda run: run.name,
)
def test_an_identity_is_foreseen(run: Wanted, tmp_path: Path) -> None:
    claim(run, tmp_path / run.name)
    found = Prospects(tmp_path, None).of(run)
    assert (found.state, found.why, found.measured) == ("begun", "", 0)


@pytest.mark.parametrize(
    ("other", "where"),
    [
        (replace(PLAIN, seed=1), "seed"),
        (replace(PLAIN, settings={"prompts": "single"}), "method.changes.prompts"),
        (replace(PLAIN, options={"limit": "2", "classes": "oracle"}), "classes"),
        (replace(PLAIN, benchmark="toyworld_stuff"), "dataset.name"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_another_run_in_the_place_is_found(other: Wanted, where: str, tmp_path: Path) -> None:
    claim(other, tmp_path / PLAIN.name)
    found = Prospects(tmp_path, None).of(PLAIN)
    assert found.state == "other"
    assert where in found.why
