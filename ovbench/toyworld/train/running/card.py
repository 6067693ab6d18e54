"""The model card beside the weights: exactly how they came about."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ovbench.toyworld.train.running.device import hardware
from ovbench.toyworld.train.running.options import Options


@dataclass(frozen=True, slots=True)
class Card:
    """What a role has to say of its checkpoint.

    Attributes:
        role: such as ``"clip"``.
        model: the class and its size, in words.
        supervision: what the model learned from, in words.
        recipe: every number of the training recipe.
        metrics: on held-out scenes, with the number of scenes in the names or values.
        weights: the file that holds them, or the folder of several.
        origin: how it came about, in words that follow the model's.
    """

    role: str
    model: str
    supervision: str
    recipe: Mapping[str, Any]
    metrics: Mapping[str, Any]
    weights: Path
    origin: str = "trained from scratch on scenes of the embedded world"


def write_card(card: Card, options: Options, seconds: float) -> None:
    """Write ``card.json`` and ``README.md`` next to the weights."""
    folder = card.weights if card.weights.is_dir() else card.weights.parent
    content = {
        "role": card.role,
        "model": card.model,
        "supervision": card.supervision,
        "recipe": dict(card.recipe),
        "steps": options.steps,
        "seed": options.seed,
        "seconds": round(seconds),
        "hardware": hardware(options.device),
        "torch": torch.__version__.partition("+")[0],
        "ovbench": version("ovbench"),
        "metrics": dict(card.metrics),
        "weights": [_describe(path, folder) for path in sorted(folder.rglob("*.safetensors"))],
    }
    (folder / "card.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_readme(content, card.origin), encoding="utf-8")


def _describe(path: Path, folder: Path) -> dict[str, Any]:
    return {
        "file": path.relative_to(folder).as_posix(),
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def _readme(content: Mapping[str, Any], origin: str) -> str:
    metrics = "".join(f"| {name} | {value} |\n" for name, value in content["metrics"].items())
    return f"""# Miniature {content["role"]}

{content["model"]}, {origin}.

{content["supervision"]}

Made by `python -m ovbench.toyworld.train {content["role"]} --steps {content["steps"]} \
--seed {content["seed"]}` in {content["seconds"]} s on {content["hardware"]}. `card.json` holds
the whole recipe, versions and the digest of the weights.

| held-out scenes | |
|---|---|
{metrics}"""
