"""One module per benchmark, and the class-name files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ovbench.datasets.choosing.choices import Choices
from ovbench.errors import UsageError
from ovbench.harness.contract.checks.typed import public
from ovbench.harness.contract.datasets import BackgroundRule, Dataset
from ovbench.harness.contract.runtime import checked_seed
from ovbench.harness.files.home import at_home
from ovbench.harness.registry.names import DATASETS
from ovbench.harness.registry.presets import published_names

ALIASES: dict[str, tuple[str, BackgroundRule]] = {
    "voc20": ("voc", "ignore"),
    "voc21": ("voc", "class"),
    "context59": ("context", "ignore"),
    "context60": ("context", "class"),
    "object80": ("cocoobject", "ignore"),
    "object81": ("cocoobject", "class"),
}
"""Names the papers use for a benchmark under one background rule."""


@public
def load_dataset(
    name: str,
    *,
    root: Path | str | None = None,
    split: str | None = None,
    background: BackgroundRule | None = None,
    names: Path | str | None = None,
    variant: str | None = None,
    subset: str | None = None,
    prompts: Path | str | None = None,
    shots: int | None = None,
    seed: int = 0,
    names_of: Sequence[str] = (),
) -> Dataset:
    """Open a registered dataset.

    Args:
        name: see ``ovbench list datasets``; or an alias such as ``"voc20"``.
        root: folder in which the official archives were unpacked; the default is the
            environment variable ``OVBENCH_DATA``.
        split: the default is the split the benchmark's numbers are reported on.
        background: whether background is a class to score or left out.
        names: a set of class names or a file of them; the default is "plain".
        variant: which of several published constructions of a benchmark's labels.
        subset: a part of the classes to measure alone; see
            :mod:`ovbench.datasets.choosing.subsets`.
        prompts: pictures that show the classes, for methods that are prompted by image: a
            folder, or a split to draw them from; see :mod:`ovbench.datasets.prompting.prompts`.
        shots: how many to draw for each class; the default is one.
        seed: of the draw.
        names_of: methods that were published with one set of names on this benchmark, which is
            taken where ``names`` is None; see :mod:`ovbench.harness.contract.published`.

    Raises:
        UsageError: unknown names, files that are not there, an argument of another kind, or a
            choice that the dataset does not have.
        OvbenchError: code of the dataset ends the program.
    """
    if name in ALIASES:
        alias = name
        name, implied = ALIASES[alias]
        if background not in (None, implied):
            raise UsageError(f"{alias} means background={implied}; {background} contradicts it")
        background = implied
    DATASETS.entry(name)
    checked_seed(seed)
    root = root or os.environ.get("OVBENCH_DATA")
    folder = at_home(root) if root else None

    def open_split(split: str | None) -> Dataset:
        return _open(name, Choices(folder, split, background, names, variant), subset, names_of)

    dataset = open_split(split)
    if prompts is not None:
        from ovbench.datasets.prompting.prompts import show_classes

        return show_classes(dataset, str(prompts), shots=shots, seed=seed, open_split=open_split)
    if shots is not None:
        raise UsageError("--shots goes with --prompts SPLIT only")
    return dataset


def _open(name: str, choices: Choices, subset: str | None, names_of: Sequence[str]) -> Dataset:
    dataset: Dataset = DATASETS.load(name)(choices)
    if names_of and choices.names is None:
        # Only what is open says under which rule its background is scored.
        names = published_names(names_of, dataset.info)
        dataset = DATASETS.load(name)(replace(choices, names=names)) if names else dataset
    if choices.variant is not None and dataset.info.variant != choices.variant:
        raise UsageError(f"{name} has no variants; {choices.variant!r} cannot be chosen")
    _check_ids(dataset)
    if subset is None:
        return dataset
    from ovbench.datasets.choosing.subsets import measure_alone

    return measure_alone(dataset, subset)


def _check_ids(dataset: Dataset) -> None:
    """Results are kept by image, under names that become paths."""
    from ovbench.datasets.reading.files import utf8
    from ovbench.harness.files.below import leads_outside

    where = f"{dataset.info.name} {dataset.info.split}"
    if not len(dataset.ids):
        raise UsageError(f"{where}: holds no images")
    image, times = Counter(dataset.ids).most_common(1)[0]
    if times > 1:
        raise UsageError(f"{where}: lists the image {image} more than once")
    for image in dataset.ids:
        if leads_outside(utf8(where, image)):
            raise UsageError(f"{where}: the image {image[:80]!r} would lie elsewhere")
