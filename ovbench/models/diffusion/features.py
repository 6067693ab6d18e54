"""Reading what is inside a U-Net while it runs, and no longer than needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn


class _FoundAllError(Exception):
    """Ends a forward pass whose remainder nobody reads."""


def read_modules(
    model: nn.Module, names: Sequence[str], forward: Callable[[], object]
) -> dict[str, Tensor]:
    """What some modules put out in a forward pass, which ends behind the last one of them.

    Args:
        names: as ``named_modules`` gives them; each runs once in a pass.
        forward: runs ``model``.

    Returns:
        In the order of ``names``. Of a module that puts out a tuple it is the first member.

    Raises:
        ValueError: the model has no such module, or does not run it.
    """
    found: dict[str, Tensor] = {}
    with _hooks(model, names, found):
        try:
            forward()
        except _FoundAllError:
            return {name: found[name] for name in names}
    raise ValueError(f"not run: {', '.join(name for name in names if name not in found)}")


@contextmanager
def _hooks(model: nn.Module, names: Sequence[str], found: dict[str, Tensor]) -> Iterator[None]:
    modules = dict(model.named_modules())
    if unknown := [name for name in names if name not in modules]:
        raise ValueError(f"the model has no module {', '.join(unknown)}")
    wanted = len(set(names))
    handles = [
        modules[name].register_forward_hook(partial(_keep, name, found, wanted)) for name in names
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _keep(
    name: str, found: dict[str, Tensor], wanted: int, _module: Any, _arguments: Any, output: Any
) -> None:
    found[name] = output[0] if isinstance(output, tuple) else output
    if len(found) == wanted:
        raise _FoundAllError


def on_grid(output: Tensor, latent_size: tuple[int, int]) -> Tensor:
    """A module's output as a map, ``(B, C, h, w)``, whether it is one or ``(B, h * w, C)``."""
    if output.ndim == 4:
        return output
    grid, _ = find_grid(output.shape[1], latent_size)
    return output.mT.reshape(*output.shape[::2], *grid)


def find_grid(places: int, latent_size: tuple[int, int]) -> tuple[tuple[int, int], int]:
    """Height and width of a layer's map, and how many times coarser it is than the latents."""
    height, width = latent_size
    reduction = round(math.sqrt(height * width / places))
    grid = -(-height // reduction), -(-width // reduction)
    if math.prod(grid) != places:
        raise ValueError(f"{places} places are no reduction of {height}x{width} latents")
    return grid, reduction
