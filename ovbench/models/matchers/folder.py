"""From a checkpoint folder in the Hugging Face hub's layout to a matcher's parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.files.json_files import parse
from ovbench.harness.files.regular import regular
from ovbench.models.matchers.matcher import Normalisation
from ovbench.models.weights.checkpoints import locate
from ovbench.models.weights.pretrained import reading

Wrapper = TypeVar("Wrapper")


class Parts(NamedTuple):
    """What a :class:`~ovbench.models.matchers.matcher.Matcher` is made of."""

    model: Any
    tokenizer: Any
    normalisation: Normalisation


def load_folder(
    wrapper: Callable[..., Wrapper],
    stock: tuple[Any, str],
    checkpoint: tuple[str, str],
    runtime: Runtime,
) -> Wrapper:
    """Load what wraps a model of transformers, from where its checkpoint is.

    Args:
        wrapper: takes the parts, the records of the checkpoint and ``runtime``.
        stock: the model's class and head, as :func:`load_parts` takes them.
        checkpoint: role and name in the catalogue.

    Raises:
        UsageError: weights that cannot be had, or are not those of such a model.
    """
    located = locate(*checkpoint, runtime)
    return wrapper(*load_parts(*stock, located.path), located.records, runtime)


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

    with reading(folder):
        _check_type(folder, model_class.config_class.model_type)
        model, report = model_class.from_pretrained(folder, output_loading_info=True)
        parts = Parts(model, AutoTokenizer.from_pretrained(folder), _normalisation(folder))
    if any(key.startswith(f"{head}.") for key in report["missing_keys"]):
        raise UsageError(f"{folder}: not trained for image-text matching: it has no {head}")
    return parts


def _check_type(folder: Path, expected: str) -> None:
    found = parse(regular(folder / "config.json").read_bytes()).get("model_type")
    if found != expected:
        raise ValueError(f"config.json says model type {found!r}, not {expected!r}")


def _normalisation(folder: Path) -> Normalisation:
    """What the file says; where it is silent, CLIP's values, as with both processor classes.

    BridgeTower's file on the hub, for one, is silent.
    """
    from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

    config = parse(regular(folder / "preprocessor_config.json").read_bytes())
    mean = config.get("image_mean", OPENAI_CLIP_MEAN)
    return Normalisation(tuple(mean), tuple(config.get("image_std", OPENAI_CLIP_STD)))
