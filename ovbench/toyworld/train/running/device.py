"""The machine a training run is on: its arithmetic and its description."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from ovbench.errors import UsageError


def require(device: str) -> None:
    """Make sure that tensors can be put on ``device``.

    Raises:
        UsageError: torch does not know it or cannot reach it.
    """
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # which one depends on torch's build
        reason = str(error).strip().split("\n", 1)[0]
        raise UsageError(f"--device {device}: {reason}") from None


def autocast(device: str) -> torch.autocast:
    """bf16 where the hardware multiplies it natively, else a context that does nothing."""
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=native_bf16(device))


def native_bf16(device: str) -> bool:
    """Whether ``device`` multiplies bf16 in hardware."""
    if torch.device(device).type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    # torch before 2.9 cannot tell; it then trains in fp32
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))


def hardware(device: str) -> str:
    """The class of hardware, such as ``"CPU, 2 threads, bf16"``."""
    arithmetic = "bf16" if native_bf16(device) else "fp32"
    if torch.device(device).type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {arithmetic}"
    return f"CPU, {torch.get_num_threads()} threads, {arithmetic}"


def plain_attention(device: str) -> AbstractContextManager[None]:
    """On a CPU the matrix form of attention: there the fused one is slower in training."""
    if torch.device(device).type == "cpu":
        return sdpa_kernel(SDPBackend.MATH)
    return nullcontext()
