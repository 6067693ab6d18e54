"""The arithmetic that a runtime's precision names."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch

from ovbench.harness.contract.runtime import Precision

DTYPES: Mapping[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[Any]:
    """Computes what gains by it in a precision; in float32 it changes nothing."""
    lower = dtype != torch.float32
    return torch.autocast(device.type, dtype if lower else None, enabled=lower)
