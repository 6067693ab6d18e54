"""Whatever becomes a path stays below its folder."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ovbench.errors import DataError, UsageError
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.files.below import below, file_name
from ovbench.harness.files.images import read_label, write_label
from ovbench.harness.results.store import RunStore, default_directory
from ovbench.harness.run.predictions import PredictionFiles, score_folder
from ovbench.harness.run.runner import Options, evaluate

PARTS = st.sampled_from(["..", ".", "", "a", "b c", "~", "C:", "\\", "ü", "a\n", "..."])


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PARTS, min_size=1, max_size=6).map("/".join))
def test_a_name_stays_below_its_folder_or_is_refused(tmp_path: Path, name: str) -> None:
    try:
        path = below(tmp_path / "home", name)
    except UsageError:
        return
    assert Path(os.path.normpath(path)).is_relative_to(tmp_path / "home")


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_names_make_one_folder_in_runs(method: str, dataset: str) -> None:
    path = default_directory(method, dataset, "0123456789abcdef")
    assert path.parent == Path("runs")
    assert path.name not in (".", "..")
    assert path.name.endswith("-0123456789ab")
    assert len(os.fsencode(path.name)) <= 255


@given(st.text())
def test_a_file_name_is_one_part_of_a_path(text: str) -> None:
    name = file_name(text)
    assert name
    assert not set(name) & set("/\\:\0\n")
    assert not name.startswith(".")


def test_a_link_in_the_folder_is_not_followed_out_of_it(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "disk").mkdir()
    home.symlink_to(tmp_path / "disk")  # the folder itself may be one
    assert below(home, "x/a.png") == home / "x/a.png"
    (home / "x").symlink_to(elsewhere)
    with pytest.raises(UsageError, match=r"'x/a\.png' would lie outside of it"):
        below(home, "x/a.png")


@pytest.mark.parametrize("escape", ["absolute", "above"])
def test_kept_predictions_never_take_the_place_of_the_ground_truth(
    memory_dataset: Any, thresholds: Any, tmp_path: Path, escape: str
) -> None:
    mask = tmp_path / "data" / "a.png"
    mask.parent.mkdir()
    write_label(mask, np.full((3, 3), 7, np.uint8))
    name = str(mask.with_suffix("")) if escape == "absolute" else "../../data/a"

    class Strange(memory_dataset):  # type: ignore[misc]
        ids = (name,)

    options = Options(save_predictions=True)
    with pytest.raises(UsageError, match="would lie elsewhere"):
        evaluate(thresholds, Strange(count=1), output=tmp_path / "run", options=options)
    with pytest.raises(UsageError, match="would lie outside of it"):
        RunStore(tmp_path / "run").save_predictions([name], [np.zeros((3, 3), np.uint8)])
    with pytest.raises(DataError, match="would lie outside of it"):
        PredictionFiles(tmp_path, [name]).find(name)
    assert (read_label(mask) == 7).all()
    assert [p.name for p in mask.parent.iterdir()] == ["a.png"]


def test_a_name_for_tables_is_no_path(
    memory_dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = memory_dataset(count=2)
    (tmp_path / "mine").mkdir()
    for index, image in enumerate(dataset.ids):
        write_label(tmp_path / "mine" / f"{image}.png", dataset.load(index).label)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    result = score_folder(tmp_path / "mine", dataset, name="../../ours /v2", kept=True)
    assert result is not None
    assert result["run"]["method"] == "../../ours /v2"
    (run,) = (tmp_path / "here" / "runs").iterdir()
    assert (run / "result.json").is_file()
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "cache") == ["here", "mine"]


def test_more_labels_than_the_ignore_label_leaves_room_for(
    memory_dataset: Any, tmp_path: Path
) -> None:
    """Said before anything is prepared, with what mends it."""

    class NeverAsked:
        def prepare(self, vocabulary: Vocabulary) -> None:
            raise AssertionError

        def segment(self, images: Any, candidates: Any = None) -> Any:
            raise AssertionError

    many = Vocabulary.of(*(f"class {i}" for i in range(300)))
    dataset = memory_dataset(vocabulary=many)
    with pytest.raises(UsageError, match=r"the ignore label 255 is one of the vocabulary's 300 "
                       r"labels; give the dataset one beyond them"):  # fmt: skip
        evaluate(NeverAsked(), dataset)

    class Firsts(NeverAsked):
        def prepare(self, vocabulary: Vocabulary) -> None:
            pass

        def segment(self, images: Any, candidates: Any = None) -> Any:
            return [np.full(image.shape[:2], 299, np.uint16) for image in images]

    class Wide(memory_dataset):  # type: ignore[misc]
        def load(self, index: int) -> Any:
            sample = super().load(index)
            label = sample.label.astype(np.uint16)
            return replace(sample, label=np.where(label == 255, 65535, label).astype(np.uint16))

    info = replace(dataset.info, ignore_label=65535, background="none")
    assert evaluate(Firsts(), Wide(vocabulary=many, info=info)) is not None
