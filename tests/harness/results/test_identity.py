"""A number is never older than the code and the images it is said to be of."""

from __future__ import annotations

import json
import os
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pytest

from ovbench.errors import DataError, OvbenchError, UsageError
from ovbench.harness.contract.progress import watching
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.results.fresh import _move, _remove
from ovbench.harness.results.seeds import parse_seeds
from ovbench.harness.run.distributed import World, passing_directory
from ovbench.harness.run.runner import Options, evaluate

# How often a method may still be asked: not a part of what it holds.
LIVES: WeakKeyDictionary[Any, int] = WeakKeyDictionary()


def constant(label: int, lives: int = 99) -> Any:
    """A class of one name for every label; dies after some images."""

    class Always:
        def prepare(self, vocabulary: Vocabulary) -> None: ...

        def segment(self, images, candidates=None):
            LIVES[self] -= 1
            if LIVES[self] < 0:
                raise MemoryError
            return [np.full(image.shape[:2], label, np.uint8) for image in images]

    method = Always()
    LIVES[method] = lives
    return method


class Failing:
    """Gives up before the first image."""

    def prepare(self, vocabulary: Vocabulary) -> None:
        raise MemoryError

    def segment(self, images, candidates=None): ...


class Listening:
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def watch(self, title: str, total: float | None) -> AbstractContextManager[Any]:
        return nullcontext(lambda _done: None)

    def says(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)


def test_from_python_nothing_is_written_and_nothing_old_is_read(memory_dataset) -> None:
    results = [evaluate(constant(label), memory_dataset()) for label in (0, 1, 2)]
    assert len({result["metrics"]["miou"] for result in results}) == 3
    assert len({result["run"]["id"] for result in results}) == 3
    assert [row["pred_pixels"] > 0 for row in results[1]["per_class"]] == [
        False,
        True,
        False,
        False,
    ]
    assert list(Path.cwd().iterdir()) == []
    with pytest.raises(UsageError, match="save_predictions needs an output"):
        evaluate(constant(0), memory_dataset(), options=Options(save_predictions=True))


def test_a_run_that_was_cut_short_is_not_finished_by_other_code(memory_dataset) -> None:
    run = Path("run")
    with pytest.raises(MemoryError):
        evaluate(constant(1, lives=5), memory_dataset(), output=run)
    shard = run / "records" / "rank-0.jsonl"
    before = shard.read_bytes()
    with pytest.raises(UsageError, match=r"differs in: code of .*Always\).* --output or .*--fresh"):
        evaluate(constant(2), memory_dataset(), output=run)
    assert shard.read_bytes() == before
    evaluate(constant(1), memory_dataset(), output=run)
    assert shard.read_bytes().startswith(before)
    with pytest.raises(UsageError, match="code of"):
        evaluate(constant(2), memory_dataset(), output=run)


def test_what_was_measured_before_says_so_and_is_measured_again_when_asked(memory_dataset) -> None:
    heard = Listening()
    with watching(heard):
        first = evaluate(constant(1), memory_dataset(), output="run")
        assert heard.lines == []
        assert evaluate(constant(1), memory_dataset(), output="run") == first
    (line,) = heard.lines
    assert line.startswith(f"all 12 images were measured before ({first['run']['started'][:10]}, ")
    assert line.endswith("); --fresh measures again")

    # Killed while it measures again: what was there stays, and neither is mixed with the other.
    fresh = Options(fresh=True)
    records = Path("run", "records", "rank-0.jsonl").read_bytes()
    with pytest.raises(MemoryError):
        evaluate(constant(2, lives=5), memory_dataset(), output="run", options=fresh)
    assert Path("run", "records", "rank-0.jsonl").read_bytes() == records
    assert evaluate(constant(1), memory_dataset(), output="run") == first
    # Begun with other code it begins anew; with the same it goes on.
    with pytest.raises(MemoryError):
        evaluate(constant(3, lives=5), memory_dataset(), output="run", options=fresh)
    rest = constant(3, lives=7)
    again = evaluate(rest, memory_dataset(), output="run", options=fresh)
    assert LIVES[rest] == 0
    assert again["metrics"] == evaluate(constant(3), memory_dataset())["metrics"]
    assert json.loads(Path("run", "result.json").read_text()) == again
    assert sorted(path.name for path in Path("run").iterdir()) == [
        "records",
        "result.json",
        "run.json",
    ]


@pytest.mark.parametrize("moves", range(9))
def test_whoever_is_killed_while_a_new_run_takes_the_old_ones_place(
    memory_dataset, monkeypatch, moves: int
) -> None:
    """Every step of the file system in turn is the last one before the power goes."""
    kept = Options(save_predictions=True)
    evaluate(constant(1), memory_dataset(), output="run", options=kept)
    left = moves

    def counted(step):
        def dying(*arguments, **options):
            nonlocal left
            if left == 0 and "run/" in str(arguments[0]) + "/":
                raise KeyboardInterrupt
            left -= 1
            return step(*arguments, **options)

        return dying

    with monkeypatch.context() as patch:
        patch.setattr("ovbench.harness.results.fresh._remove", counted(_remove))
        patch.setattr("ovbench.harness.results.fresh._move", counted(_move))
        with pytest.raises(KeyboardInterrupt):
            evaluate(constant(2), memory_dataset(), output="run", options=Options(fresh=True))
    found = evaluate(constant(2), memory_dataset(), output="run")
    assert found["metrics"] == evaluate(constant(2), memory_dataset())["metrics"]
    assert not Path("run", "predictions").exists()
    assert sorted(path.name for path in Path("run").iterdir()) == [
        "records",
        "result.json",
        "run.json",
    ]


@pytest.mark.parametrize("there", [False, True])
def test_of_two_that_measure_into_one_directory_at_once_one_is_refused(
    memory_dataset, monkeypatch, there: bool
) -> None:
    """The second begins at the first's third image, with other code and with the same."""
    monkeypatch.setattr("ovbench.harness.files.alone.PATIENCE_S", 0)
    right = evaluate(constant(2), memory_dataset())
    if there:
        evaluate(constant(1), memory_dataset(), output="run")
    refused = []

    class Second:
        def started(self, remaining: int, total: int) -> None: ...

        def recorded(self, image: str, confusion: object) -> None:
            if image == "image-002":
                for label in (3, 2):
                    for fresh in (True, False):
                        with pytest.raises(OvbenchError, match="run: another process is writing"):
                            evaluate(constant(label), memory_dataset(), output="run",
                                     options=Options(fresh=fresh))  # fmt: skip
                        refused.append(label)

    found = evaluate(constant(2), memory_dataset(), output="run",
                     options=Options(fresh=True), observer=Second())  # fmt: skip
    assert refused == [3, 3, 2, 2]
    assert found["metrics"] == right["metrics"]
    assert found["run"]["id"] == right["run"]["id"]
    assert evaluate(constant(2), memory_dataset(), output="run") == found


def test_measuring_again_removes_nothing_but_the_old_run(memory_dataset, tmp_path: Path) -> None:
    mine = Path("mine", "predictions", "notes.txt")
    mine.parent.mkdir(parents=True)
    mine.write_text("a folder of mine")
    fresh = Options(fresh=True)
    evaluate(constant(1), memory_dataset(), output="mine", options=fresh)
    assert mine.exists()
    mine.parent.rename(tmp_path / "elsewhere")
    mine.parent.symlink_to(tmp_path / "elsewhere")
    Path("mine", "report.html").write_text("also mine")
    found = evaluate(constant(2), memory_dataset(), output="mine", options=fresh)
    assert found == json.loads(Path("mine", "result.json").read_text())
    assert Path("mine", "report.html").exists()
    assert (tmp_path / "elsewhere" / "notes.txt").exists()  # a link goes, not what it leads to


@pytest.mark.parametrize("there", [False, True])
def test_what_fails_before_its_first_record_leaves_nothing(memory_dataset, there: bool) -> None:
    if there:
        Path("runs").mkdir()
    for fresh in (False, True):
        with pytest.raises(MemoryError):
            evaluate(Failing(), memory_dataset(), output="runs/a/b", options=Options(fresh=fresh))
        with pytest.raises(MemoryError):
            evaluate(constant(1, lives=0), memory_dataset(), output="runs/a/b")
        with pytest.raises(DataError, match="none of the 12 images can be read; image-000"):
            evaluate(constant(1), memory_dataset(bad=range(12)), output="runs/a/b",
                     options=Options(skip_bad=True, fresh=fresh))  # fmt: skip
        assert list(Path.cwd().rglob("*")) == [Path.cwd() / "runs"] * there


def test_what_fails_later_keeps_its_records(memory_dataset) -> None:
    with pytest.raises(MemoryError):
        evaluate(constant(1, lives=5), memory_dataset(), output="run")
    with pytest.raises(MemoryError):
        evaluate(constant(1, lives=0), memory_dataset(), output="run")
    assert Path("run", "records", "rank-0.jsonl").read_bytes().count(b'"image"') == 5


def test_a_dataset_without_images_or_with_one_twice_is_refused(memory_dataset) -> None:
    class Twice(memory_dataset):
        ids = ("a", "b", "a")

    with pytest.raises(UsageError, match="memory: holds no images"):
        evaluate(constant(1), memory_dataset(count=0), output="run")
    with pytest.raises(UsageError, match="memory: lists the image a more than once"):
        evaluate(constant(1), Twice(), output="run")
    assert not Path("run").exists()


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "1"])
def test_a_seed_that_no_generator_takes_is_refused_before_anything_is_done(seed: Any) -> None:
    with pytest.raises(UsageError, match=f"seed {seed}: must be a whole number from 0 to"):
        Runtime(seed=seed)
    if isinstance(seed, int):
        with pytest.raises(UsageError, match="seed"):
            parse_seeds(f"0,{seed}")


def test_the_largest_seeds_reach_every_image(memory_dataset) -> None:
    from ovbench.harness.registry.methods import Method

    class Drawing:
        def prepare(self, vocabulary: Vocabulary) -> None: ...

        def segment(self, images, candidates=None):
            return [np.random.randint(0, 4, i.shape[:2]).astype(np.uint8) for i in images]

    for seed in (2**32 - 2, 2**32 - 1):
        result = evaluate(Method.of(Drawing(), Runtime(seed=seed)), memory_dataset())
        assert result["run"]["complete"]


def test_processes_on_several_machines_need_a_place_that_all_of_them_see() -> None:
    world = World(0, size=4, local_size=2)
    with (
        pytest.raises(UsageError, match="several machines need an output directory"),
        passing_directory(world),
    ):
        pass


class Answering:
    """Answers with the first class that it may."""

    def prepare(self, vocabulary: Vocabulary) -> None: ...

    def segment(self, images, candidates):
        pairs = zip(images, candidates, strict=True)
        return [np.full(image.shape[:2], min(allowed), np.uint8) for image, allowed in pairs]


class Holding:
    """Answers with what it holds, counts its calls and keeps what it prepared."""

    def __init__(self, label: int) -> None:
        self.held = {"label": np.array(label)}
        self.calls = 0

    def prepare(self, vocabulary: Vocabulary) -> None:
        self.embeddings = np.ones(len(vocabulary)) * (self.calls + 1)

    def segment(self, images):
        self.calls += 1
        return [np.full(image.shape[:2], self.held["label"], np.uint8) for image in images]


def measured(method: Any, dataset: Any, **options: Any) -> dict[str, Any]:
    """A run into one directory, which says nothing of what it cannot read."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = evaluate(method, dataset, output="run", options=Options(**options))
    assert found is not None
    return found


def test_two_objects_of_one_class_are_two_runs(memory_dataset: Any) -> None:
    right = [evaluate(Holding(label), memory_dataset())["metrics"] for label in (0, 1)]
    first = measured(Holding(0), memory_dataset())
    assert measured(Holding(0), memory_dataset()) == first
    with pytest.raises(UsageError, match=r"differs in: state of the method\).*--fresh"):
        measured(Holding(1), memory_dataset())
    second = measured(Holding(1), memory_dataset(), fresh=True)
    assert [first["metrics"], second["metrics"]] == right
    assert first["run"]["id"] != second["run"]["id"]


def test_an_object_that_was_only_run_is_read_again_and_one_that_was_trained_is_not(
    memory_dataset: Any, watcher: Any
) -> None:
    method = Holding(0)
    first = measured(method, memory_dataset())
    for _ in range(2):  # as a notebook's cell, and a dataset in between
        evaluate(method, memory_dataset(count=5))
        assert measured(method, memory_dataset()) == first
    assert method.calls == 12 + 5 + 5
    method.held["label"] += 1
    with pytest.raises(UsageError, match="state of the method"):
        measured(method, memory_dataset())
    assert measured(method, memory_dataset(), fresh=True)["metrics"] != first["metrics"]


def test_a_run_that_was_cut_short_goes_on_with_the_object_and_with_one_made_like_it(
    memory_dataset: Any, killed_after: Any
) -> None:
    whole = evaluate(Holding(1), memory_dataset())
    method = Holding(1)
    for killed in (method, method, Holding(1)):
        with pytest.raises(KeyboardInterrupt):
            evaluate(killed, memory_dataset(), output="run", observer=killed_after(4))
        with pytest.raises(UsageError, match="state of the method"):
            measured(Holding(2), memory_dataset())
    resumed = measured(Holding(1), memory_dataset())
    assert whole is not None
    assert (resumed["metrics"], resumed["run"]["id"]) == (whole["metrics"], whole["run"]["id"])


def test_a_dataset_and_a_filter_from_python_are_known_by_what_they_hold(
    memory_dataset: Any,
) -> None:
    class Shifted(memory_dataset):
        """Holds its labels, of which no file tells."""

        def __init__(self, shift: int) -> None:
            super().__init__()
            self.shift = np.array(shift, np.uint8)

        def load(self, index):
            sample = super().load(index)
            scored = sample.label < 255
            return replace(sample, label=np.where(scored, (sample.label + self.shift) % 4, 255))

    class Choosing:
        def __init__(self, chosen: int) -> None:
            self.chosen = {chosen}

        def prepare(self, vocabulary): ...

        def select(self, images):
            return [self.chosen] * len(images)

    first = measured(Holding(1), Shifted(0))
    assert measured(Holding(1), Shifted(0)) == first
    with pytest.raises(UsageError, match=r"differs in: state of the dataset\)"):
        measured(Holding(1), Shifted(1))
    asked = Answering(), memory_dataset()
    options = Options(classes="predicted", fresh=True)
    evaluate(*asked, class_filter=Choosing(1), output="run", options=options)
    options = Options(classes="predicted")
    with pytest.raises(UsageError, match=r"differs in: state of the filter\)"):
        evaluate(*asked, class_filter=Choosing(2), output="run", options=options)


def test_only_of_what_cannot_be_read_a_warning_says_that_it_may_have_changed(
    memory_dataset: Any,
) -> None:
    def reading(label: int) -> Any:
        method = Holding(label)
        method.log = open(os.devnull)  # noqa: SIM115
        return method

    first = measured(reading(0), memory_dataset())
    words = r"12 images were measured before, maybe with other values of Holding\.log \(TextIO"
    with pytest.warns(RuntimeWarning, match=words):
        again = evaluate(reading(0), memory_dataset(), output="run")
    assert again == first
    with pytest.raises(UsageError, match="state of the method"):
        measured(reading(1), memory_dataset())
