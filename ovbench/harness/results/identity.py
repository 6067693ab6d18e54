"""The part of an identity that every measurement has: whose numbers, on what, with what.

What may be compared is less: ``code`` and ``files`` only decide what may be gone on with or read
again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ovbench.harness.contract.datasets import Dataset
from ovbench.harness.contract.version import PROTOCOL_VERSION
from ovbench.harness.registry.methods import Subject
from ovbench.harness.registry.names import DATASETS
from ovbench.harness.registry.sources import code_of, code_of_entry, is_strange


def conditions(subject: Subject, dataset: Dataset, ids: Sequence[str]) -> dict[str, Any]:
    """What can move a number, whatever is measured; JSON-ready.

    Args:
        ids: the images that are used, of the dataset's.
    """
    return {
        "protocol_version": PROTOCOL_VERSION,
        "settings": dict(subject.settings),
        "checkpoint_flavour": subject.runtime.checkpoints,
        "checkpoints": [asdict(c) for c in subject.checkpoints],
        "precision": subject.runtime.precision,
        "seed": subject.runtime.seed,
        "code": {**subject.code, **code_of_dataset(dataset)},
        **data_conditions(dataset, ids),
        **_files(dataset, ids),
    }


def data_conditions(dataset: Dataset, ids: Sequence[str]) -> dict[str, Any]:
    """The data's share of :func:`conditions`: which images, and what is asked of them."""
    vocabulary = dataset.vocabulary
    info = asdict(dataset.info)
    info.pop("prompts")
    prompts = _prompts(dataset)
    return {
        "dataset": {
            **info,
            "scored": None if dataset.info.scored is None else list(dataset.info.scored),
            "num_images": len(ids),
            "ids_sha256": hashlib.sha256("\n".join(ids).encode()).hexdigest(),
        },
        "vocabulary": {
            "source": vocabulary.source,
            "known_as": list(vocabulary.known_as),
            "sha256": vocabulary.sha256,
            "names": list(vocabulary.names),
            "queries": vocabulary.texts,
        },
        **({"prompts": prompts} if prompts else {}),
    }


def code_of_dataset(dataset: Dataset) -> dict[str, str]:
    """The code that reads a dataset; see :func:`~ovbench.harness.registry.sources.code_of`."""
    entry = DATASETS.entries.get(dataset.info.name)
    return {**code_of(*_layers(dataset)), **(code_of_entry(entry) if entry else {})}


def untold(dataset: Dataset) -> Dataset | None:
    """A dataset of a user's own class, or the one it is made from, if no digests tell of it."""
    layers = list(_layers(dataset))
    told = any(hasattr(layer, "digests") for layer in layers)
    return None if told else next((one for one in layers if is_strange(type(one))), None)


def _files(dataset: Dataset, ids: Sequence[str]) -> dict[str, Any]:
    """Digests of what no benchmark publishes, where a dataset can tell them."""
    entry = DATASETS.entries.get(dataset.info.name)
    if entry is not None and entry.published:
        return {}
    for layer in _layers(dataset):
        if digests := getattr(layer, "digests", None):
            return {"files": dict(digests(ids))}
    return {}


def _layers(dataset: Dataset) -> Iterator[Dataset]:
    """A dataset, and those that it is made from."""
    layer: Dataset | None = dataset
    while layer is not None:
        yield layer
        layer = getattr(layer, "base", None)


def _prompts(dataset: Dataset) -> dict[str, Any] | None:
    """What shows the classes of the whole vocabulary; None where nothing does."""
    vocabulary, known = dataset.vocabulary, dataset.info.prompts
    digest = vocabulary.exemplars_sha256
    if digest is None:
        return None
    if known is None:
        return {"source": "custom", "shots": None, "pictures": None, "sha256": digest}
    shown = zip(vocabulary.names[vocabulary.offset :], known.pictures, strict=True)
    return {
        "source": known.source,
        "shots": known.shots,
        "pictures": {name: list(pictures) for name, pictures in shown},
        "sha256": digest,
        **({"left_out": list(known.left_out)} if known.left_out else {}),
    }
