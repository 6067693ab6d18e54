"""What a network holds in memory, whatever file it came from or random numbers it was given."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from importlib.metadata import version
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

_PLAIN = (bool, int, float, str, tuple, type(None))


def content_of(network: nn.Module, without: Collection[str] = ()) -> str:
    """SHA-256, as hex, of a network's layers, their options, and every weight and buffer.

    A text tower of ViT-L/14, of half a gigabyte, takes about 0.4 s.

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


class Content:
    """The digest of a network that is asked for often: taken anew when something changed."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._seen: list[object] = []
        self._digest = ""

    def digest(self) -> str:
        """See :func:`content_of`."""
        seen: list[object] = [f"{n} {_described(m)}" for n, m in self._network.named_modules()]
        for name, tensor in _tensors(self._network):
            # In place or by another tensor: either shows, but for tensors that count no changes.
            version_of = object() if tensor.is_inference() else tensor._version
            seen += [name, id(tensor), tensor.data_ptr(), version_of]
        if seen != self._seen:
            self._digest, self._seen = content_of(self._network), seen
        return self._digest


def surroundings(device: torch.device) -> dict[str, Any]:
    """What besides a network and its input decides an output to the last bit."""
    packages = ("torch", "open-clip-torch", "transformers")
    return {
        # Sums round differently on another kind of device and in another release.
        "device": device.type,
        "matmul": torch.get_float32_matmul_precision(),
        "packages": {name: version(name) for name in packages},
    }


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
