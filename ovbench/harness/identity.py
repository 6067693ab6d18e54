"""The part of an identity that every measurement has: whose numbers, on what, with what."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ovbench.harness.methods import Subject
from ovbench.harness.protocol import PROTOCOL_VERSION, Dataset


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
        **data_conditions(dataset, ids),
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
            "sha256": vocabulary.sha256,
            "names": list(vocabulary.names),
        },
        **({"prompts": prompts} if prompts else {}),
    }


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
    }
