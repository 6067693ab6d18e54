"""What there is of every run of a suite: nothing is loaded that only measuring needs.

Whether a run is done is asked of its identity, as ``ovbench run`` asks; what only weights can tell
of it, their own digests, follows from the rest.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from ovbench.datasets import ALIASES, load_dataset
from ovbench.errors import OvbenchError, UsageError
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.datasets import Dataset, Sample
from ovbench.harness.contract.published import PUBLISHED, Published
from ovbench.harness.contract.runtime import CheckpointFlavour, Runtime, flavour_on
from ovbench.harness.contract.settings import resolved
from ovbench.harness.registry.glance import card_of, refuse_missing_packages
from ovbench.harness.registry.methods import MethodChoice, choose_method, subject_of
from ovbench.harness.registry.names import METHODS
from ovbench.harness.registry.picking import picks_of
from ovbench.harness.registry.presets import published_rows
from ovbench.harness.registry.sources import code_of, code_of_entry
from ovbench.harness.results.store import RunStore, differences, essence
from ovbench.harness.run.counting import Candidates
from ovbench.harness.run.runner import Options, Run
from ovbench.harness.run.standing import standing
from ovbench.harness.suite.wanted import Wanted
from ovbench.models.weights.needs import chosen

State: TypeAlias = Literal["done", "begun", "to do", "other", "not ready", "left out"]
"""``"other"``: its directory holds a run of other code, labels or values. ``"not ready"``: its data
or its packages are not here. ``"left out"``: there is no such run."""

# Of an identity, what only loading weights can tell, and what the digests of code stand for.
_UNFORESEEN = ("settings", "checkpoints", "filter")


@dataclass(frozen=True, slots=True)
class Prospect:
    """A run and what there is of it.

    Attributes:
        why: what is to be known of its state, in words; empty where there is nothing.
        images: of the run; None where its data is not here.
        measured: how many of them are recorded.
        weights: ``"role/name"`` of what it loads; none where the miniatures do.
    """

    run: Wanted
    state: State
    why: str = ""
    images: int | None = None
    measured: int = 0
    weights: Sequence[str] = ()

    @property
    def due(self) -> bool:
        """It can be measured, and is not yet."""
        return self.state in ("begun", "to do")


@dataclass(frozen=True, slots=True)
class Prospects:
    """Looks at runs; every dataset is opened once.

    Args:
        folder: of the suite.
        root: of the benchmarks.
    """

    folder: Path
    root: Path | None
    _opened: dict[tuple[Any, ...], Dataset | OvbenchError] = field(default_factory=dict)

    def of(self, run: Wanted) -> Prospect:
        """What there is of a run.

        Raises:
            UsageError: its settings are not what its method takes; names the line.
        """
        try:
            refuse_missing_packages(run.method)
        except UsageError as error:
            return Prospect(run, "not ready", str(error))
        row = _row(run) if run.preset == PUBLISHED else None
        if run.preset == PUBLISHED and row is None:
            return Prospect(run, "left out", f"{run.method} was not published there")
        choice = _choice(run, row)
        data = self._dataset(run)
        if isinstance(data, OvbenchError):
            return Prospect(run, "not ready", str(data), weights=_weights(run, choice, False))
        images = min(len(data.ids), int(run.options.get("limit", len(data.ids))))
        found = Prospect(run, "to do", "", images, 0, _weights(run, choice, data.info.rendered))
        if not os.path.lexists(self.folder / run.name / "run.json"):
            return found
        return self._begun(found, data)

    def _begun(self, found: Prospect, data: Dataset) -> Prospect:
        """What there is of a run whose directory holds one."""
        try:
            if differing := self._differing(found.run, data):
                return replace(found, state="other", why=f"differs in {', '.join(differing)}")
            there = standing(self.folder / found.run.name)
        except OvbenchError as error:
            return replace(found, state="other", why=str(error))
        return replace(found, state="done" if there.finished else "begun", measured=there.images)

    def _dataset(self, run: Wanted) -> Dataset | OvbenchError:
        options = run.options
        names_of = (run.method,) if run.preset == PUBLISHED else ()
        given = [
            options.get(name)
            for name in ("root", "split", "background", "variant", "subset", "prompts", "shots")
        ]
        key = (run.benchmark, run.names, names_of, *given, run.seed if given[-2] else 0)
        if key not in self._opened:
            root, split, background, variant, subset, prompts, shots = given
            try:
                self._opened[key] = load_dataset(
                    run.benchmark,
                    root=root or self.root,
                    split=split,
                    background=cast(Any, background),
                    names=run.names,
                    variant=variant,
                    subset=subset,
                    prompts=prompts,
                    shots=int(shots) if shots else None,
                    seed=run.seed,
                    names_of=names_of,
                )
            except OvbenchError as error:
                self._opened[key] = error
        return self._opened[key]

    def _differing(self, run: Wanted, data: Dataset) -> list[str]:
        """In what the run of a directory is another one, as dotted names."""
        choice = choose_method(run.method, run.preset, run.settings, data.info)
        limit = run.options.get("limit")
        runtime = Runtime(
            precision=cast(Any, run.options.get("precision", "fp32")),
            checkpoints=_flavour(run, data.info.rendered),
            seed=run.seed,
        )
        subject = subject_of(run.method, choice, runtime, run.preset)
        asked = Run(
            _Nobody(), subject, data, Options(limit=int(limit) if limit else None)
        ).identity()
        asked["classes"] = run.options.get("classes", "all")
        asked["code"] = {
            **asked["code"],
            **code_of(choice.method_class),
            **code_of_entry(METHODS.entry(run.method)),
        }
        known = RunStore(self.folder / run.name).identity() or {}
        return sorted(differences(_foreseen(known), _foreseen(asked)))


class _Nobody:
    """Stands where a run has what it asks: an identity is all that is wanted of it."""

    def prepare(self) -> Sequence[str]:
        raise NotImplementedError

    def predict(self, samples: Sequence[Sample], candidates: Candidates) -> Sequence[LabelMap]:
        raise NotImplementedError


def _foreseen(identity: Mapping[str, Any]) -> dict[str, Any]:
    return {name: v for name, v in essence(identity).items() if name not in _UNFORESEEN}


def _flavour(run: Wanted, rendered: bool) -> CheckpointFlavour:
    return flavour_on(cast(Any, run.options.get("checkpoints", "auto")), rendered)


def _row(run: Wanted) -> Published | None:
    """What a method was published with on a benchmark, which is asked without its data."""
    name, rule = ALIASES.get(run.benchmark, (run.benchmark, None))
    with_choice = {dataset for dataset, _ in ALIASES.values()}
    rule = rule or cast(Any, run.options.get("background"))
    rule = rule or ("class" if name in with_choice else "none")
    rows = published_rows(METHODS.load(run.method))
    return next((row for row in rows if (row.dataset, row.background) == (name, rule)), None)


def _choice(run: Wanted, row: Published | None) -> MethodChoice | None:
    """A method's settings; its module is imported only where they are not its defaults."""
    if run.preset is None and not run.settings:
        return None
    preset, values = (run.preset, {}) if row is None else (None, row.settings)
    try:
        return choose_method(run.method, preset, {**values, **run.settings})
    except UsageError as error:
        raise UsageError(f"{run.place}: {run.method}: {error}") from None


def _weights(run: Wanted, choice: MethodChoice | None, rendered: bool) -> list[str]:
    """``"role/name"`` of the checkpoints that a run loads, none of the miniatures."""
    if _flavour(run, rendered) == "toy":
        return []
    card, picks = card_of(run.method), picks_of(run.method)
    settings = resolved(choice.settings) if choice else {}
    usual = {name: value for pick in picks for name, value in pick.reads.items()}
    asked = {
        name: str(settings[name])
        for name, value in usual.items()
        if name in settings and str(settings[name]) != value
    }
    return chosen(run.method, card.weights if card else (), picks, asked)
