"""Build the tuner of a registered method."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ovbench.errors import UsageError
from ovbench.harness.contract.datasets import DatasetInfo
from ovbench.harness.contract.runtime import CheckpointFlavour, Precision, Runtime
from ovbench.harness.contract.settings import override, resolved
from ovbench.harness.contract.tuning import Phase, Tuner
from ovbench.harness.registry.glance import refuse_missing_packages, refuse_unknown_names
from ovbench.harness.registry.methods import Subject, package_version, resolve_device
from ovbench.harness.registry.names import METHODS
from ovbench.harness.registry.presets import choose_preset
from ovbench.harness.registry.sources import code_of, code_of_entry


@dataclass(frozen=True, slots=True)
class Tunable:
    """A method's tuner with everything that identifies it.

    Attributes:
        subject: the method, with the settings the tuner was built with.
        given: those settings that a preset or the user gave.
        phases: what is searched.
    """

    subject: Subject
    tuner: Tuner
    given: Mapping[str, Any]
    phases: Sequence[Phase]


def load_tuner(
    name: str,
    *,
    preset: str | None = None,
    benchmark: DatasetInfo | None = None,
    settings: Mapping[str, Any] | None = None,
    tuning: Mapping[str, Any] | None = None,
    fixed: Collection[str] = (),
    device: str = "auto",
    precision: Precision = "fp32",
    checkpoints: CheckpointFlavour = "real",
    seed: int = 0,
) -> Tunable:
    """Build the tuner of a registered method.

    See :func:`ovbench.harness.registry.methods.load_method`.

    Args:
        fixed: names of settings that are not searched.
        seed: for the order of the trials too.

    Raises:
        UsageError: as there, or nothing to tune.
    """
    refuse_unknown_names(name, preset, settings or {})
    refuse_missing_packages(name)
    method_class = METHODS.load(name)
    build = getattr(method_class, "tuner", None)
    if build is None:
        raise UsageError(f"{name} has nothing to tune")
    chosen = choose_preset(name, method_class, preset, benchmark)
    given = {**chosen.values, **(settings or {})}
    parsed = override(method_class.Settings, given)
    values = resolved(parsed)
    runtime = Runtime(resolve_device(device), precision, checkpoints, seed)
    tuner: Tuner = build(parsed, runtime)
    subject = Subject(
        name,
        package_version(METHODS.entry(name).package),
        runtime,
        preset,
        values,
        checkpoints=tuple(tuner.checkpoints),
        code={**code_of(tuner), **code_of_entry(METHODS.entry(name))},
        tuning=tuning,
        published=chosen.record(settings or {}),
    )
    phases = _open_phases(tuner.phases, fixed)
    if strays := {key for phase in phases for key in phase.choices} - set(values):
        raise ValueError(f"{name} has no settings {sorted(strays)}")
    if not phases:
        raise UsageError(f"{name} has nothing left to tune; give fewer settings by --set")
    return Tunable(subject, tuner, {key: values[key] for key in given}, phases)


def _open_phases(phases: Sequence[Phase], fixed: Collection[str]) -> list[Phase]:
    """What is left to search, with values as they come back from a file."""
    left = []
    for phase in phases:
        choices = {k: list(v) for k, v in phase.choices.items() if k not in fixed}
        if choices:
            left.append(Phase(phase.name, json.loads(json.dumps(choices))))
    return left
