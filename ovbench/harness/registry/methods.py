"""Build a registered method, or wrap one that is not registered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ovbench.errors import UsageError
from ovbench.harness.contract.card import MethodCard, MethodKind
from ovbench.harness.contract.checks.typed import public
from ovbench.harness.contract.datasets import DatasetInfo
from ovbench.harness.contract.progress import progress
from ovbench.harness.contract.runtime import CheckpointFlavour, CheckpointRecord, Precision, Runtime
from ovbench.harness.contract.segmenters import Segmenter, SegmenterClass
from ovbench.harness.contract.settings import override, resolved, settings_of
from ovbench.harness.contract.supervision import TRAINED_ON_MASKS, Supervision
from ovbench.harness.registry.glance import (
    card_of,
    refuse_missing_packages,
    refuse_unknown_names,
)
from ovbench.harness.registry.names import METHODS
from ovbench.harness.registry.picking import picks_of
from ovbench.harness.registry.presets import choose_preset
from ovbench.harness.registry.sources import code_of, code_of_entry
from ovbench.harness.registry.trainings import supervision_of

UNREGISTERED = "unregistered"
"""The version of a method that is given from Python."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a result says was measured.

    Attributes:
        name: as registered, or the class's name.
        version: of the package that provides it.
        preset: the named preset it was built from, or None.
        settings: resolved, JSON-ready.
        changes: the settings in which it differs from its preset, or from its defaults.
        checkpoints: the weights it loaded.
        tuning: on what the settings were tuned, as
            :func:`~ovbench.harness.registry.settings_file.read_tuning` gives it, or None.
        published: the row of the preset "published", as
            :meth:`~ovbench.harness.registry.presets.Chosen.record` gives it, or None.
        code: digests of the source that answers, as
            :func:`~ovbench.harness.registry.sources.code_of` gives them.
        warnings: what a result must say of it.
        trained: what its weights were trained with, of miniatures and of what is not registered
            None.
    """

    name: str
    version: str
    runtime: Runtime
    preset: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    checkpoints: tuple[CheckpointRecord, ...] = ()
    code: Mapping[str, str] = field(default_factory=dict)
    tuning: Mapping[str, Any] | None = None
    published: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    trained: Supervision | None = None


@dataclass(frozen=True, slots=True)
class Method:
    """A segmenter with everything that identifies it in a result."""

    subject: Subject
    segmenter: Segmenter

    @classmethod
    def of(cls, segmenter: Segmenter, runtime: Runtime | None = None) -> Method:
        """Wrap a segmenter that is not registered.

        :func:`~ovbench.harness.contract.settings.settings_of`
        says what is recorded of its settings.
        """
        subject = Subject(
            type(segmenter).__name__,
            UNREGISTERED,
            runtime or Runtime(),
            settings=settings_of(segmenter),
            checkpoints=_checkpoints(segmenter),
            code=code_of(type(segmenter)),
        )
        return cls(subject, segmenter)


@public
def load_method(
    name: str,
    *,
    preset: str | None = None,
    benchmark: DatasetInfo | None = None,
    settings: Mapping[str, Any] | None = None,
    tuning: Mapping[str, Any] | None = None,
    device: str = "auto",
    precision: Precision = "fp32",
    checkpoints: CheckpointFlavour = "real",
    seed: int = 0,
) -> Method:
    """Build a registered method and load its weights.

    Args:
        name: see ``ovbench list methods``.
        preset: a named set of settings of that method.
        benchmark: for the preset "published": the ``info`` of the dataset whose values to take.
        settings: values that replace the preset's or the defaults; strings are parsed.
        tuning: on what these were tuned, for the result; see :class:`Subject`.
        device: "auto" takes this process's GPU where there is one, else the CPU, and for a floor
            the CPU: it has no network.
        precision: of the networks' arithmetic.
        checkpoints: "real" weights, or the "toy" miniatures that come with the package.
        seed: for every random choice the method makes.

    Raises:
        UsageError: unknown name, preset or setting, an argument of another kind, no published
            values for the benchmark, or missing weights or packages.
        OvbenchError: the method ends the program.
    """
    choice = choose_method(name, preset, settings or {}, benchmark)
    if device == "auto" and _kind(choice.method_class) == "floor":
        device = "cpu"  # to look for a GPU, PyTorch would have to be imported
    runtime = Runtime(resolve_device(device), precision, checkpoints, seed)
    with progress(f"load {name}", total=None):
        segmenter = choice.method_class(choice.settings, runtime)
    subject = replace(
        subject_of(name, choice, runtime, preset),
        # A method may fill in settings that depend on its weights; a result has no blanks.
        settings=resolved(getattr(segmenter, "settings", choice.settings)),
        checkpoints=_checkpoints(segmenter),
        code={**code_of(segmenter), **code_of_entry(METHODS.entry(name))},
        tuning=tuning,
        trained=_trained(name, choice.settings) if checkpoints == "real" else None,
    )
    return Method(subject, segmenter)


@dataclass(frozen=True, slots=True)
class MethodChoice:
    """A registered method with its settings, not built yet.

    Attributes:
        version: of the package that provides it.
        settings: an instance of its ``Settings``.
        changes, published: as in :class:`Subject`.
    """

    method_class: SegmenterClass
    version: str
    settings: Any
    changes: Mapping[str, Any]
    published: Mapping[str, Any] | None


def choose_method(
    name: str,
    preset: str | None,
    settings: Mapping[str, Any],
    benchmark: DatasetInfo | None = None,
) -> MethodChoice:
    """Look a method up and parse its settings, as :func:`load_method`; no weights are loaded."""
    entry = METHODS.entry(name)
    refuse_unknown_names(name, preset, settings)
    refuse_missing_packages(name)
    method_class: SegmenterClass = METHODS.load(name)
    chosen = choose_preset(name, method_class, preset, benchmark)
    baseline = resolved(override(method_class.Settings, chosen.values))
    parsed = override(method_class.Settings, {**chosen.values, **settings})
    changes = {key: v for key, v in resolved(parsed).items() if v != baseline[key]}
    version, published = package_version(entry.package), chosen.record(settings)
    return MethodChoice(method_class, version, parsed, changes, published)


def subject_of(name: str, choice: MethodChoice, runtime: Runtime, preset: str | None) -> Subject:
    """What a result will say was measured, as far as that is known before weights are loaded."""
    return Subject(
        name,
        choice.version,
        runtime,
        preset,
        resolved(choice.settings),
        choice.changes,
        published=choice.published,
        warnings=_warnings(choice.method_class),
    )


def _kind(method_class: SegmenterClass) -> MethodKind | None:
    """What a method learned from, by its card."""
    card = getattr(method_class, "card", None)
    return card.kind if isinstance(card, MethodCard) else None


def _warnings(method_class: SegmenterClass) -> tuple[str, ...]:
    """What every result of a method must say, by what its card says that it learned from."""
    return (TRAINED_ON_MASKS,) if _kind(method_class) == "mask-supervised" else ()


def _trained(name: str, settings: Any) -> Supervision | None:
    values = {setting: str(value) for setting, value in resolved(settings).items()}
    return supervision_of(card_of(name), picks_of(name), values)


def _checkpoints(segmenter: Segmenter) -> tuple[CheckpointRecord, ...]:
    return tuple(getattr(segmenter, "checkpoints", ()))


def package_version(package: str) -> str:
    """The installed version of a distribution, "unknown" where it has no metadata."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def resolve_device(device: str) -> str:
    """A torch device string for this process.

    Raises:
        UsageError: a device that this machine or this PyTorch build does not have.
    """
    if device == "cpu":
        return device
    import os

    import torch

    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if device == "auto":
        return f"cuda:{local_rank}" if torch.cuda.is_available() else "cpu"
    try:
        wanted = torch.device(device)
    except RuntimeError:
        raise UsageError(
            f"--device {device}: PyTorch knows no such device; write auto, cpu, cuda, cuda:1, ..."
        ) from None
    try:
        torch.ones(1, device=wanted).item()  # some devices compute nothing
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {device}: {reason}") from None
    if wanted.type == "cuda" and wanted.index is None:
        return f"cuda:{local_rank}"
    return device
