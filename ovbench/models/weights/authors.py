"""Files of weights that authors wrote with ``torch.save``, and modules that they fit exactly."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor, nn
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals
from torch.torch_version import TorchVersion

from ovbench.errors import UsageError
from ovbench.harness.files.regular import regular

M = TypeVar("M", bound=nn.Module)

# What PyTorch says of objects that are not weights, as opposed to what is no pickle.
_NO_WEIGHTS = ("unsupported GLOBAL", "Unsupported global", "Can only")

_NAMED = 3
"""Names in a message; there may be hundreds."""


def weights_in(file: Path, key: str | None = None) -> dict[str, Tensor]:
    """The weights that a file holds, under a key if there is such a one; nothing in it is run.

    Authors often save what they trained with beside the weights. No class that the file names is
    imported: an object that does nothing stands for each of its.

    Raises:
        UsageError: a file that is damaged, or has no such weights.
    """
    content = saved_in(file)
    weights = content.get(key, content) if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(w, Tensor) for w in weights.values()):
        where = f" under {key!r}" if key else " alone"
        raise UsageError(f"{file}: holds no weights{where}")
    return weights


def saved_in(file: Path) -> Any:
    """All that a file holds; nothing in it is run.

    Objects that stand for those of classes have these' attributes, and do nothing.

    Raises:
        UsageError: a file that is damaged.
    """
    try:
        with safe_globals(_stands_for_all_in(regular(file))):
            return torch.load(regular(file), map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        if any(words in str(error) for words in _NO_WEIGHTS):
            raise UsageError(
                f"{file}: holds objects beside its weights, which are not loaded since they can "
                "run code; save its weights alone"
            ) from None
        raise UsageError(f"{file}: is damaged; delete it and run again") from None
    except (EOFError, OSError, RuntimeError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise UsageError(f"{file}: cannot be loaded: {reason}") from None


Renaming: TypeAlias = Sequence[tuple[str, str]]
"""Patterns and what takes their place, in turn."""


def renamed(name: str, rules: Renaming) -> str:
    """A tensor's whole name by the rules of a map."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def fitted(module: M, weights: Mapping[str, Tensor], file: Path) -> M:
    """A module with the weights of a file, which must be its own, no more and no less.

    Raises:
        UsageError: weights that are missing, that have no place or another shape, by name.
    """
    own = module.state_dict()
    faults = {
        "lacks": own.keys() - weights.keys(),
        "has in addition": weights.keys() - own.keys(),
        "has in other shapes": {
            name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape
        },
    }
    said = [f"{verb} {_list(names)}" for verb, names in faults.items() if names]
    if said:
        raise UsageError(f"{file}: is not what was expected: it {', and '.join(said)}")
    module.load_state_dict(weights)
    return module


class _Unread:
    """Stands for an object of any class: it has its attributes, and nothing that it does."""

    def __new__(cls, *_: object) -> _Unread:
        return super().__new__(cls)

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)


def _unread_dictionary(*_: object) -> dict[Any, Any]:
    return {}


def _stands_for_all_in(file: Path) -> list[Any]:
    """For every class and function that a file names and PyTorch does not know, what is taken."""
    try:
        names = get_unsafe_globals_in_checkpoint(file)
    except ValueError:  # written before PyTorch had archives, which alone tell their names
        return [TorchVersion]  # a text of its own class, beside many trainings' weights
    # PyTorch puts entries into dictionaries alone.
    dictionaries = {"collections.defaultdict"}
    return [(_unread_dictionary if name in dictionaries else _Unread, name) for name in names]


def _list(names: Iterable[str]) -> str:
    known = sorted(names)
    rest = len(known) - _NAMED
    return ", ".join(known[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
