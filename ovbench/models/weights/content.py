"""What a network holds in memory, whatever file it came from or random numbers it was given."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from itertools import chain

import torch
from torch import Tensor, nn

_PLAIN = (bool, int, float, str, tuple, type(None))


def content_of(network: nn.Module, without: Collection[str] = ()) -> str:
    """SHA-256, as hex, of a network's layers, their options, and every weight and buffer.

    A text tower of ViT-L/14, of half a gigabyte, takes a third of a second.

    Args:
        without: submodules that have no part in the answer that is asked for.
    """
    digest = hashlib.sha256()
    for name, module in network.named_modules():
        if _counts(name, without):
            digest.update(f"{name} {_described(module)}\n".encode())
    for name, tensor in _tensors(network):
        if _counts(name, without):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(bytes_of(tensor))
    return digest.hexdigest()


def bytes_of(tensor: Tensor) -> memoryview:
    """A tensor's numbers as they lie in memory."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def _counts(name: str, without: Collection[str]) -> bool:
    return name.partition(".")[0] not in without


def _tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    return chain(network.named_parameters(), network.named_buffers())


def _described(module: nn.Module) -> str:
    """Its class and plain attributes; two modules may differ by no more, such as in an epsilon."""
    kind = type(module)
    plain = {k: v for k, v in sorted(vars(module).items()) if isinstance(v, _PLAIN)}
    return f"{kind.__module__}.{kind.__qualname__} {module.extra_repr()} {plain}"
