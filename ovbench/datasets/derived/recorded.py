"""The dataset that a run was measured on, opened again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

from ovbench.datasets import load_dataset
from ovbench.datasets.prompting.episodes import EpisodeDataset
from ovbench.errors import UsageError
from ovbench.harness.contract.datasets import Dataset
from ovbench.harness.contract.vocabulary import Vocabulary


def load_recorded(identity: Mapping[str, Any], *, root: Path | None = None) -> Dataset:
    """Open the dataset of a run as it was chosen then.

    Args:
        identity: as the runner wrote it to ``run.json``.
        root: see :func:`~ovbench.datasets.load_dataset`.

    Raises:
        UsageError: the dataset is not registered or not there, or its images, names or drawn
            prompts are not those of the run.
    """
    recorded, vocabulary = identity["dataset"], identity["vocabulary"]
    dataset = _open(identity, None, root)
    if dataset.vocabulary.sha256 != vocabulary["sha256"]:
        # A run does not say whether its names were asked for: the benchmark's own come first.
        dataset = _asked_with(vocabulary, dataset, lambda names: _open(identity, names, root))
    if isinstance(dataset, EpisodeDataset) and (chosen := identity.get("prompts")):
        # Only the name of their folder is recorded: nothing is shown in place of the pictures.
        dataset = dataset.shown_by(dataset.vocabulary, None, chosen.get("left_out", ()))
    listing = "\n".join(dataset.ids[: identity["limit"]])
    if hashlib.sha256(listing.encode()).hexdigest() != recorded["ids_sha256"]:
        raise UsageError(f"{recorded['name']}: the images here are not those of the run")
    if dataset.vocabulary.sha256 != vocabulary["sha256"]:
        raise UsageError(f"{vocabulary['source']}: the class names here are not those of the run")
    prompts = identity.get("prompts") if dataset.info.prompts else None
    if prompts and dataset.vocabulary.exemplars_sha256 != prompts["sha256"]:
        raise UsageError(f"{prompts['source']}: the prompts drawn here are not those of the run")
    return dataset


def _asked_with(
    vocabulary: Mapping[str, Any], dataset: Dataset, open_with: Callable[[str], Dataset]
) -> Dataset:
    """The dataset with the texts of a run.

    Args:
        dataset: with the benchmark's own names.
        open_with: opens it with others, for runs of versions that did not record the texts.
    """
    texts = vocabulary.get("queries")
    if texts is None or not is_dataclass(dataset) or isinstance(dataset, type):
        return open_with(vocabulary["source"].removeprefix(f"{dataset.info.name}/"))
    own, titles = dataset.vocabulary, vocabulary["names"][dataset.vocabulary.offset :]
    classes = tuple(
        replace(query, name=first, synonyms=tuple(rest), title=None if title == first else title)
        for query, (first, *rest), title in zip(own.classes, texts["classes"], titles, strict=True)
    )
    background = own.background and replace(own.background, queries=tuple(texts["background"]))
    asked = Vocabulary(classes, background, vocabulary["source"], ambiguous=True)
    return replace(dataset, vocabulary=asked)


def _open(identity: Mapping[str, Any], names: str | None, root: Path | None) -> Dataset:
    recorded, prompts = identity["dataset"], identity.get("prompts")
    # Prompts from a folder are not drawn again: only the folder's name is recorded.
    drawn = prompts if prompts and prompts["shots"] else {"source": None, "shots": None}
    return load_dataset(
        recorded["name"],
        root=root,
        split=recorded["split"],
        background=None if recorded["background"] == "none" else recorded["background"],
        names=names,
        # A folder's variant is its own name, which may have changed; its images tell.
        variant=None if recorded["name"] == "folder" else recorded["variant"],
        subset=recorded["subset"],
        prompts=drawn["source"],
        shots=drawn["shots"],
        seed=identity["seed"],
    )
