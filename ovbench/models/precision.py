"""The arithmetic that a runtime's precision names, and who does it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ovbench.harness.contract.runtime import Precision

DTYPES: Mapping[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}

_Network = TypeVar("_Network", bound=nn.Module)

_ONEDNN = torch.backends.cpu.get_cpu_capability() == "AVX512" and hasattr(
    torch.ops.mkldnn, "_linear_pointwise"
)
# Multiplications of one image below which calling it costs more than it saves.
_WORTH_CALLING = 1 << 21
_LINEAR = (nn.Linear, nn.modules.linear.NonDynamicallyQuantizableLinear)


def frozen(network: _Network, device: torch.device | str) -> _Network:
    """A network that will only be asked: in evaluation, its weights without gradients, moved.

    It is changed in place. On a CPU its linear layers are computed by :func:`linear`.
    """
    network.eval().requires_grad_(False).to(device)
    if torch.device(device).type == "cpu":
        for module in network.modules():
            if type(module) in _LINEAR:
                module.__class__ = FrozenLinear
    return network


class FrozenLinear(nn.Linear):
    """A linear layer of a frozen network on a CPU."""

    def forward(self, input: Tensor) -> Tensor:
        """See :func:`linear`."""
        return linear(input, self.weight, self.bias)


def linear(tokens: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``functional.linear``; large ones on a CPU, of which no gradient is asked, by oneDNN.

    PyTorch gives float32 to MKL, which does not use AVX-512 on processors of other makers:
    oneDNN, which comes with PyTorch and does lower precisions there, is twice as fast on an AMD
    EPYC (``benchmarks/README.md``). Results differ as sums in another order do.

    Args:
        tokens: ``(..., features)``.
        weight: ``(outputs, features)``.
        bias: ``(outputs,)``.
    """
    # By the image and not the batch, whose size should change nothing.
    images = len(tokens) if tokens.ndim > 2 else 1
    if (
        tokens.numel() * len(weight) <= _WORTH_CALLING * images
        or tokens.device.type != "cpu"
        or not tokens.dtype == weight.dtype == torch.float32
        or not _ONEDNN
        or torch.is_autocast_enabled("cpu")
        or (torch.is_grad_enabled() and (tokens.requires_grad or weight.requires_grad))
    ):
        return functional.linear(tokens, weight, bias)
    product: Tensor = torch.ops.mkldnn._linear_pointwise(tokens, weight, bias, "none", [], "")
    return product


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[Any]:
    """Computes what gains by it in a precision; in float32 it changes nothing."""
    lower = dtype != torch.float32
    return torch.autocast(device.type, dtype if lower else None, enabled=lower)
