"""Searching settings with a tuner whose best values are known."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from ovbench.errors import ContractError, DataError, OvbenchError, UsageError
from ovbench.harness.contract.datasets import DatasetInfo, Sample
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import setting
from ovbench.harness.contract.tuning import Example, Phase
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.registry.names import METHODS, Entry
from ovbench.harness.registry.tuners import load_tuner
from ovbench.harness.run.counting import Counter, present_labels
from ovbench.harness.tune.search import Options, Search, load_examples, tune
from ovbench.harness.tune.trials import Trial, best_of, phase_summary, trial_order

LAYERS, HEADS = range(6), range(4)
SIGMAS = [0.0, 0.02, 0.04, 0.06]
WHOLE = len(LAYERS) * len(HEADS) + len(SIGMAS)


@dataclass(frozen=True)
class Settings:
    layer: int = setting(0, "our choice", "a layer")
    head: int = setting(0, "our choice", "a head")
    sigma: float = setting(0.05, "our choice", "of a blur")
    size: int = setting(336, "our choice", "not tuned")


class Peak:
    """Earns most at layer 4, head 2 and, if those were kept, at sigma 0.04."""

    checkpoints = ()

    def __init__(self, settings: Settings, runtime: Runtime) -> None:
        self.settings, self.runtime = settings, runtime
        self.phases = [
            Phase("maps", {"layer": LAYERS, "head": HEADS}),
            Phase("blur", {"sigma": SIGMAS}),
        ]
        self.prepared: list[Vocabulary] = []
        self.asked: list[tuple[Mapping[str, Any], list[str]]] = []

    def prepare(self, vocabulary: Vocabulary) -> None:
        self.prepared.append(vocabulary)

    def rewards(self, values: Mapping[str, Any], examples: Sequence[Example]) -> list[float]:
        self.asked.append((dict(values), [example.id for example in examples]))
        layer, head = (values.get(k, getattr(self.settings, k)) for k in ("layer", "head"))
        earned = 10.0 - abs(layer - 4) - abs(head - 2)
        if "sigma" in values:
            earned -= abs(values["sigma"] - 0.04) * 10
        return [earned * len(example.present) for example in examples]


class Tunable:
    """A method with a tuner; nothing here segments."""

    Settings = Settings
    presets: ClassVar[dict[str, dict[str, Any]]] = {"large": {"size": 448, "layer": 1}}
    tuner = Peak


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tunable as ``peak``."""
    monkeypatch.setitem(METHODS.entries, "peak", Entry(f"{__name__}:Tunable", ""))


@pytest.fixture
def dataset(memory_dataset: Callable[..., Any]) -> Any:
    return memory_dataset(count=5)


def lines(run: Path) -> list[dict[str, Any]]:
    """The trials of a directory but for what a clock decides: seconds, and the checksum of them."""
    trials = [json.loads(line) for line in (run / "trials.jsonl").read_text().splitlines()]
    return [{k: v for k, v in trial.items() if k not in ("seconds", "crc")} for trial in trials]


def settled(content: dict[str, Any]) -> dict[str, Any]:
    for phase in content["tuning"]["phases"]:
        del phase["seconds"]
    return content


def test_trying_everything_finds_the_best(dataset: Any, tmp_path: Path) -> None:
    found = tune(load_tuner("peak"), dataset, output=tmp_path, options=Options(trials=None))
    assert found["settings"] == {"layer": 4, "head": 2, "sigma": 0.04}
    assert found == json.loads((tmp_path / "settings.json").read_text())
    maps, blur = found["tuning"]["phases"]
    assert (maps["trials"], blur["trials"]) == (24, 4)
    assert maps["values"] == {"layer": 4, "head": 2}
    assert maps["reward_per_class"] == pytest.approx(10)
    trials = lines(tmp_path)
    assert len(trials) == WHOLE
    assert all(t["values"].items() >= maps["values"].items() for t in trials[24:])
    assert all(t["reward"] == pytest.approx(sum(t["rewards"])) for t in trials)


def test_the_file_says_where_its_values_come_from(dataset: Any, tmp_path: Path) -> None:
    tunable = load_tuner("peak", preset="large", settings={"size": "224"}, seed=3)
    found = tune(tunable, dataset, output=tmp_path, options=Options(trials=2, limit=4))
    assert found["method"] == "peak"
    assert found["settings"]["size"] == 224
    assert set(found["settings"]) == {"size", "layer", "head", "sigma"}
    tuning = found["tuning"]
    assert (tuning["dataset"], tuning["split"], tuning["num_images"]) == ("memory", "val", 4)
    assert (tuning["seed"], tuning["trials"]) == (3, 2)
    assert len(tuning["ids_sha256"]) == 64
    assert len(tuning["images"]) == tuning["num_examples"]
    assert tunable.tuner.settings == Settings(layer=1, size=224)  # type: ignore[attr-defined]


def test_the_order_is_random_seeded_and_repeats_nothing() -> None:
    phase = Phase("maps", {"layer": LAYERS, "head": HEADS})
    whole = trial_order(phase, None, 0)
    assert trial_order(phase, 7, 0) == whole[:7]
    pairs = [(values["layer"], values["head"]) for values in whole]
    assert sorted(pairs) == [(layer, head) for layer in LAYERS for head in HEADS]
    assert pairs != sorted(pairs)
    assert trial_order(phase, None, 1) != whole
    assert trial_order(Phase("other", phase.choices), None, 0) != whole


class KilledError(Exception):
    """Stands for a power cut."""


@pytest.mark.parametrize("after", [1, 3, 8, 9, 12])
def test_killed_and_resumed_equals_never_killed(dataset: Any, tmp_path: Path, after: int) -> None:
    options = Options(trials=8)
    whole = tune(load_tuner("peak"), dataset, output=tmp_path / "whole", options=options)
    run = tmp_path / "run"

    class Fragile(Peak):
        def rewards(self, values: Mapping[str, Any], examples: Sequence[Example]) -> list[float]:
            if len(self.asked) == after * 5:  # one image at a time
                raise KilledError
            return super().rewards(values, examples)

    fragile = load_tuner("peak")
    object.__setattr__(fragile, "tuner", Fragile(Settings(), Runtime()))
    if after < 12:
        with pytest.raises(KilledError):
            tune(fragile, dataset, output=run, options=options)
        assert not (run / "settings.json").exists()
        assert len(lines(run)) == after
        with (run / "trials.jsonl").open("a") as file:
            file.write('{"phase": "maps", "num')  # a torn line
    else:
        tune(fragile, dataset, output=run, options=options)
    again = load_tuner("peak")
    resumed = tune(again, dataset, output=run, options=options)
    assert lines(run) == lines(tmp_path / "whole")
    assert settled(resumed) == settled(whole)
    assert len(again.tuner.asked) == (12 - after) * 5  # type: ignore[attr-defined]
    assert len(again.tuner.prepared) == (after < 12)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "options", "named"),
    [
        ({"seed": 1}, Options(trials=2), "seed"),
        ({}, Options(trials=3), "trials"),
        ({}, Options(trials=2, limit=3), "dataset.num_images"),
        ({"settings": {"size": 224}}, Options(trials=2), "settings.size"),
        ({"fixed": ["sigma"]}, Options(trials=2), "phases"),
    ],
)
def test_the_directory_of_another_search_is_refused(
    dataset: Any, tmp_path: Path, arguments: dict[str, Any], options: Options, named: str
) -> None:
    tune(load_tuner("peak"), dataset, output=tmp_path, options=Options(trials=2))
    before = lines(tmp_path)
    with pytest.raises(UsageError, match=f"another search.*{named}"):
        tune(load_tuner("peak", **arguments), dataset, output=tmp_path, options=options)
    assert lines(tmp_path) == before


def test_a_search_that_other_code_began_is_not_gone_on_with(dataset: Any, tmp_path: Path) -> None:
    tune(load_tuner("peak"), dataset, output=tmp_path, options=Options(trials=2))
    edited = load_tuner("peak")
    subject = replace(edited.subject, code={**edited.subject.code, "peak": "0"})
    with pytest.raises(UsageError, match=r"another search .*code of peak"):
        tune(replace(edited, subject=subject), dataset, output=tmp_path, options=Options(trials=2))


def test_a_search_that_fails_before_its_first_trial_leaves_nothing(
    memory_dataset: Any, tmp_path: Path
) -> None:
    with pytest.raises(DataError):
        tune(load_tuner("peak"), memory_dataset(bad=[0]), output=tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()


def test_a_line_that_is_no_trial_is_named(dataset: Any, tmp_path: Path) -> None:
    tune(load_tuner("peak"), dataset, output=tmp_path, options=Options(trials=2))
    with (tmp_path / "trials.jsonl").open("a") as file:
        file.write('{"phase": "maps"}\n')
    with pytest.raises(OvbenchError, match=r"trials\.jsonl:5: not a trial"):
        tune(load_tuner("peak"), dataset, output=tmp_path, options=Options(trials=2))


def test_examples_know_the_classes_the_oracle_tells(dataset: Any) -> None:
    samples = [dataset.load(index) for index in range(5)]
    counter = Counter(dataset.vocabulary, 255, "oracle")
    examples = load_examples(dataset)
    assert [example.present for example in examples] == counter.candidates(samples)
    assert [example.id for example in examples] == dataset.ids
    assert not hasattr(examples[0], "label")
    assert np.array_equal(examples[2].image, samples[2].image)


@pytest.mark.parametrize("background", [True, False])
def test_images_without_a_class_are_left_out(memory_dataset: Any, background: bool) -> None:
    class Sparse(memory_dataset):  # type: ignore[misc]
        def load(self, index: int) -> Sample:
            sample = super().load(index)
            if index == 1:
                return Sample(sample.id, sample.image, np.full_like(sample.label, 255))
            return sample

    info = DatasetInfo("memory", "val", "class" if background else "none")
    vocabulary = Vocabulary.of("cat", "dog", "bird", *([] if background else ["cow"]))
    data = Sparse(count=3, info=info, vocabulary=vocabulary)
    assert [example.id for example in load_examples(data)] == ["image-000", "image-002"]
    assert [example.id for example in load_examples(data, 1)] == ["image-000"]


def test_images_that_are_all_background_leave_nothing_to_tune_on(memory_dataset: Any) -> None:
    class Empty(memory_dataset):  # type: ignore[misc]
        def load(self, index: int) -> Sample:
            sample = super().load(index)
            return Sample(sample.id, sample.image, np.zeros_like(sample.label))

    with pytest.raises(UsageError, match="none of the 3 images"):
        load_examples(Empty(count=3))


def test_an_unreadable_image_ends_the_search(memory_dataset: Any) -> None:
    with pytest.raises(DataError, match="truncated"):
        load_examples(memory_dataset(count=3, bad=[1]))


def test_labels_are_classes_only() -> None:
    label = np.array([[0, 2, 3], [255, 2, 0]], dtype=np.uint8)
    with_background = Vocabulary.of("a", "b", "c", background=True)
    assert present_labels(label, with_background, 255) == (2, 3)
    assert present_labels(label, Vocabulary.of("a", "b", "c", "d"), 255) == (0, 2, 3)


@pytest.mark.parametrize(("size", "sizes"), [(2, [2, 2, 1]), (8, [5])])
def test_batches_change_nothing(dataset: Any, tmp_path: Path, size: int, sizes: list[int]) -> None:
    tune(load_tuner("peak"), dataset, output=tmp_path / "one", options=Options(trials=2))
    tunable = load_tuner("peak")
    options = Options(trials=2, batch_size=size)
    tune(tunable, dataset, output=tmp_path / "many", options=options)
    assert lines(tmp_path / "many") == lines(tmp_path / "one")
    asked = tunable.tuner.asked  # type: ignore[attr-defined]
    assert [len(ids) for _, ids in asked[: len(sizes)]] == sizes


@pytest.mark.parametrize(
    ("answer", "message"), [([1.0, 2.0], "2 rewards came back"), ([float("nan")], "image-000")]
)
def test_a_wrong_answer_is_named(
    dataset: Any, tmp_path: Path, answer: list[float], message: str
) -> None:
    tunable = load_tuner("peak")
    tunable.tuner.rewards = lambda values, examples: answer  # type: ignore[method-assign]
    with pytest.raises(ContractError, match=message):
        tune(tunable, dataset, output=tmp_path)


def test_a_fixed_setting_is_not_searched(dataset: Any, tmp_path: Path) -> None:
    tunable = load_tuner("peak", settings={"layer": "1", "sigma": "0.5"}, fixed=["layer", "sigma"])
    found = tune(tunable, dataset, output=tmp_path, options=Options(trials=None))
    assert found["settings"] == {"layer": 1, "head": 2, "sigma": 0.5}
    (phase,) = found["tuning"]["phases"]
    assert phase["choices"] == {"head": [0, 1, 2, 3]}
    assert phase["reward_per_class"] == pytest.approx(7)


def test_nothing_to_tune_is_said() -> None:
    with pytest.raises(UsageError, match="constant has nothing to tune"):
        load_tuner("constant")
    with pytest.raises(UsageError, match="nothing left to tune"):
        load_tuner("peak", fixed=["layer", "head", "sigma"])


def test_a_tuner_of_settings_the_method_lacks_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stray(Peak):
        def __init__(self, settings: Settings, runtime: Runtime) -> None:
            super().__init__(settings, runtime)
            self.phases = [Phase("maps", {"depth": [1]})]

    monkeypatch.setattr(Tunable, "tuner", Stray)
    with pytest.raises(ValueError, match=r"no settings.*depth"):
        load_tuner("peak")


def test_of_equal_rewards_the_earlier_trial_is_best() -> None:
    earned = [1.0, 3.0, 2.0, 3.0]
    trials = [
        Trial("maps", number, {"layer": number}, reward, reward / 2, [reward], 0.5)
        for number, reward in enumerate(earned)
    ]
    assert best_of(trials).number == 1
    summary = phase_summary(Phase("maps", {"layer": [0, 1, 2, 3]}), trials)
    assert summary["values"] == {"layer": 1}
    assert (summary["median_reward"], summary["ties"], summary["seconds"]) == (2.5, 1, 2.0)


def test_an_observer_sees_every_trial_that_is_made(dataset: Any, tmp_path: Path) -> None:
    class Notes:
        def __init__(self) -> None:
            self.begun: list[tuple[int, int]] = []
            self.best: list[float] = []

        def started(self, remaining: int, total: int) -> None:
            self.begun.append((remaining, total))

        def tried(self, trial: Trial, best: Trial) -> None:
            assert best.reward >= trial.reward
            self.best.append(best.reward)

    first, second = Notes(), Notes()
    for notes in (first, second):
        tune(
            load_tuner("peak"),
            dataset,
            output=tmp_path,
            options=Options(trials=3),
            observer=notes,
        )
    assert (first.begun, len(first.best)) == ([(6, 6)], 6)
    assert first.best[:3] == sorted(first.best[:3])
    assert (second.begun, second.best) == ([(0, 6)], [])


def test_without_an_output_nothing_is_kept(
    dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = tune(load_tuner("peak"), dataset, options=Options(trials=1))
    assert found["tuning"]["trials"] == 1
    assert not (tmp_path / "runs").exists()
    search = Search(load_tuner("peak"), dataset, Options(trials=1))
    assert search.directory().name.startswith("tune-peak-memory-")
