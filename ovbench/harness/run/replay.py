"""What a run answered on some of its images: as it was kept, or asked again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ovbench.errors import OvbenchError, UsageError
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.datasets import Dataset, Sample
from ovbench.harness.contract.version import LABEL_FILES
from ovbench.harness.files.below import below
from ovbench.harness.files.images import read_label
from ovbench.harness.registry.filters import Filter, load_filter
from ovbench.harness.registry.methods import Method, load_method
from ovbench.harness.run.counting import Counter
from ovbench.harness.run.runner import Predictor, predictor_for
from ovbench.harness.run.seeding import seed_everything


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The answer to one image.

    Attributes:
        labels: ``(H, W)``, unchecked; None where there is none.
        again: the method was asked again, as its answer was not kept.
        problem: why there is none; else empty.
    """

    labels: LabelMap | None
    again: bool = False
    problem: str = ""


class Replay:
    """One run's answers; the method is loaded when one of them was not kept.

    Args:
        path: the run directory.
        identity: of the run.
        dataset: that the run was measured on.
        batch_size: of the run; the seeds of its images depend on it.
        device: to ask again on.
    """

    def __init__(
        self,
        path: Path,
        identity: Mapping[str, Any],
        dataset: Dataset,
        *,
        batch_size: int = 1,
        device: str = "auto",
    ) -> None:
        self._folder, self._identity, self._dataset = path / "predictions", identity, dataset
        self._batch_size, self._device = batch_size, device
        self._places = {name: place for place, name in enumerate(dataset.ids)}
        self._method: _Loaded | OvbenchError | None = None

    def answer(self, sample: Sample) -> Answer:
        """The answer to a sample of the dataset."""
        try:
            kept = below(self._folder, f"{sample.id}.png")
            if kept.is_file():
                return Answer(read_label(kept))
            place = self._places[sample.id] // self._batch_size * self._batch_size
            return Answer(self._loaded().ask(sample, place), again=True)
        except OvbenchError as error:
            return Answer(None, problem=str(error))

    @property
    def differences(self) -> Sequence[str]:
        """In what a method that had to be loaded is not the one that was measured."""
        return self._method.differences if isinstance(self._method, _Loaded) else ()

    def _loaded(self) -> _Loaded:
        if self._method is None:
            try:
                self._method = _load(self._identity, self._dataset, self._device)
            except OvbenchError as error:
                self._method = error  # weights that are missing are not looked for 36 times
        if isinstance(self._method, OvbenchError):
            raise self._method
        return self._method


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A method that is prepared, and what it is asked with."""

    predictor: Predictor
    class_filter: Filter | None
    counter: Counter
    seed: int
    differences: Sequence[str]

    def ask(self, sample: Sample, first: int) -> LabelMap:
        """Ask as the runner does; ``first`` is the place of the first image of the batch."""
        seed_everything(self.seed + first)
        candidates = self.counter.candidates([sample])
        if self.class_filter:
            candidates = self.class_filter.select([sample], self.counter.vocabulary)
        (answer,) = self.predictor.predict([sample], candidates)
        return answer


def method_of(identity: Mapping[str, Any], device: str) -> Method:
    """The method of a run, loaded as it was then.

    Raises:
        UsageError: the run had none, or it cannot be loaded.
    """
    if identity["method"]["version"] == LABEL_FILES:
        raise UsageError(
            "the run scored label files; copy or link them to its predictions/ "
            "(values are label indices)"
        )
    return load_method(
        identity["method"]["name"],
        settings=identity["settings"],
        device=device,
        precision=identity["precision"],
        checkpoints=identity["checkpoint_flavour"],
        seed=identity["seed"],
    )


def _load(identity: Mapping[str, Any], dataset: Dataset, device: str) -> _Loaded:
    method = method_of(identity, device)
    class_filter = None
    if found := identity.get("filter"):
        runtime = method.subject.runtime
        class_filter = load_filter(found["name"], settings=found["settings"], runtime=runtime)
    predictor = predictor_for(method.segmenter, dataset.vocabulary, dataset.info.prompted)
    seed_everything(identity["seed"])
    if class_filter:
        class_filter.prepare(dataset.vocabulary)
    predictor.prepare()
    return _Loaded(
        predictor,
        class_filter,
        Counter(dataset.vocabulary, dataset.info.ignore_label, identity["classes"]),
        identity["seed"],
        list(differences(identity, method)),
    )


def differences(identity: Mapping[str, Any], method: Method) -> Iterator[str]:
    """In what a method that was loaded now is not the one that was measured, in words."""
    subject, recorded = method.subject, identity["method"]
    if subject.version != recorded["version"]:
        yield f"its version is {subject.version}, it was {recorded['version']}"
    if dict(subject.settings) != identity["settings"]:
        yield "its settings are not those of the run"
    measured = identity.get("code")
    if measured and any(measured.get(name) != code for name, code in subject.code.items()):
        yield "its code is not that of the run"
    if [asdict(one) for one in subject.checkpoints] != identity["checkpoints"]:
        yield "its weights are not those of the run"
