"""Tensors by name from a file that authors wrote with Python's own ``pickle``.

Such a file is a program. The few words that a mapping of tensors needs are read, and any other one
is refused, so that nothing of it is run.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ovbench.errors import UsageError
from ovbench.harness.files.regular import regular


def _storage(data: bytes) -> Any:
    """A tensor's numbers, which torch wrote into the pickle as a file of its own."""
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


_WORDS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch.storage", "_load_from_bytes"): _storage,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Of the few words alone."""
        if (module, name) not in _WORDS:
            raise UsageError(f"holds {module}.{name} beside tensors, which is not run")
        return _WORDS[module, name]


def tensors_in(file: Path) -> dict[str, Tensor]:
    """The tensors that a pickled mapping holds by name, on the CPU.

    Raises:
        UsageError: a file that is damaged, or that holds anything but tensors by name.
    """
    try:
        content = _Reader(io.BytesIO(regular(file).read_bytes())).load()
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from None
    except Exception as error:  # damage shows in many ways
        reason = str(error).strip().split("\n", 1)[0]
        raise UsageError(f"{file}: cannot be loaded: {reason}; delete it and run again") from None
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()
    ):
        raise UsageError(f"{file}: holds no tensors by name")
    return dict(content)
