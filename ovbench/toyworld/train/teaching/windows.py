"""Windows of scenes, and what a patch encoder makes of them while it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ovbench.models.patches.positions import resize_positions
from ovbench.toyworld.world import SIZE


class Window(NamedTuple):
    """A place in the scenes: top, left and side in pixels, and by how much it is enlarged."""

    top: int
    left: int
    side: int
    zoom: float


class Tokens(NamedTuple):
    """Readings of the last block: ``(N, d)`` and twice ``(N, patches, d)``."""

    classes: Tensor
    patches: Tensor
    keys: Tensor


def draw_window(kinds: Sequence[tuple[int, float]], cell: int, rng: np.random.Generator) -> Window:
    """A window of one of the kinds, anywhere on the targets' grid."""
    side, zoom = kinds[int(rng.integers(len(kinds)))]
    top, left = (cell * int(place) for place in rng.integers((SIZE - side) // cell + 1, size=2))
    return Window(top, left, side, zoom)


def span(start: int, length: int) -> slice:
    """``length`` places from ``start`` on."""
    return slice(start, start + length)


def encode(model: Any, pixels: Tensor, window: Window, masked: Tensor | None = None) -> Tokens:
    """Read the last block; every patch has its place in the enlarged scene.

    Args:
        model: a ``ViTModel`` or ``Dinov2Model``.
        pixels: the window's, ``(N, 3, side, side)``, already enlarged.
        masked: ``(N, patches)`` bool, patches not to be seen; only for ``Dinov2Model``.
    """
    names = [name for name, _ in model.named_modules() if name.endswith("attention.k_proj")]
    seen: dict[str, Tensor] = {}
    hooks = (
        model.get_submodule(names[-1]).register_forward_hook(
            lambda _, __, output: seen.update(keys=output)
        ),
        model.layernorm.register_forward_pre_hook(lambda _, given: seen.update(tokens=given[0])),
    )
    side = pixels.shape[-1] // model.config.patch_size
    places = {"embeddings.position_embeddings": window_positions(model, window, side)[None]}
    options: dict[str, Any] = {} if masked is None else {"bool_masked_pos": masked}
    if model.config.model_type == "vit":  # else it insists on pictures of its own size
        options["interpolate_pos_encoding"] = True
    try:
        torch.func.functional_call(model, places, (pixels,), options)
    finally:
        for hook in hooks:
            hook.remove()
    tokens, keys = seen["tokens"].float(), seen["keys"].float()
    return Tokens(tokens[:, 0], tokens[:, 1:], keys[:, 1:])


def window_positions(model: Any, window: Window, side: int) -> Tensor:
    """Position embeddings of ``side`` by ``side`` patches of the enlarged scenes.

    Returns:
        ``(1 + side * side, d)``, the class token's first.
    """
    patch = model.config.patch_size
    native, grid = SIZE // patch, round(SIZE * window.zoom) // patch
    table = model.embeddings.position_embeddings[0]
    table = resize_positions(table, (native, native), (grid, grid))
    row, column = (min(round(at * window.zoom / patch), grid - side) for at in window[:2])
    places = table[1:].reshape(grid, grid, -1)[span(row, side), span(column, side)]
    return torch.cat([table[:1], places.flatten(0, 1)])
