"""From a checkpoint folder in the Hugging Face hub's layout to a matcher's parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError

from ovbench.errors import UsageError
from ovbench.models.matcher import Normalisation


class Parts(NamedTuple):
    """What a :class:`~ovbench.models.matcher.Matcher` is made of."""

    model: Any
    tokenizer: Any
    normalisation: Normalisation


def load_parts(model_class: Any, head: str, folder: Path) -> Parts:
    """Load model, tokenizer and normalisation.

    Args:
        model_class: of transformers, such as ``BlipForImageTextRetrieval``.
        head: the name of the matching head within it; transformers would replace a missing
            one by random weights.

    Raises:
        UsageError: files that are missing or unreadable, another model's, or without the head.
    """
    from transformers import AutoTokenizer

    try:
        _check_type(folder, model_class.config_class.model_type)
        model, report = model_class.from_pretrained(folder, output_loading_info=True)
        parts = Parts(model, AutoTokenizer.from_pretrained(folder), _normalisation(folder))
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise UsageError(f"{folder}: cannot be loaded: {reason}") from None
    if any(key.startswith(f"{head}.") for key in report["missing_keys"]):
        raise UsageError(f"{folder}: not trained for image-text matching: it has no {head}")
    return parts


def _check_type(folder: Path, expected: str) -> None:
    found = json.loads((folder / "config.json").read_text()).get("model_type")
    if found != expected:
        raise ValueError(f"config.json says model type {found!r}, not {expected!r}")


def _normalisation(folder: Path) -> Normalisation:
    path = folder / "preprocessor_config.json"
    config = json.loads(path.read_text())
    if not config.keys() >= {"image_mean", "image_std"}:
        raise ValueError(f"{path.name} has no image_mean or no image_std")
    return Normalisation(tuple(config["image_mean"]), tuple(config["image_std"]))
