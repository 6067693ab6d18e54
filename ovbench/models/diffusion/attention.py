"""Where each word of a prompt acts in a generated picture: attribution by cross-attention.

Tang et al., "What the DAAM: Interpreting Stable Diffusion Using Cross Attention" (ACL 2023),
which OVDiff follows, and Wu et al., "DiffuMask" (ICCV 2023), which RIM follows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from ovbench.models.diffusion.features import find_grid

_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True, slots=True)
class AttributionRule:
    """How the attention of many layers, heads and steps becomes one map.

    Attributes:
        reductions: the layers to read, by how many times coarser than the latents their maps
            are, such as ``(2, 4)`` for 32 and 16 of 64; None reads all cross-attention layers.
        peak_normalised: divide each layer's and step's map, the mean over its heads, by its own
            maximum; else heads, layers and steps count with the attention they pay.
        mode: of the interpolation to the common grid; what bicubic makes negative becomes 0.
        each_step: interpolate every head's map of every step by itself, count every head alike,
            and listen wherever the text is read; else the mean over the steps is interpolated,
            every layer counts alike, and a block's first attention is left out, which only in
            few U-Nets reads the text.
    """

    reductions: tuple[int, ...] | None = None
    peak_normalised: bool = False
    mode: Literal["bicubic", "bilinear"] = "bicubic"
    each_step: bool = False


DAAM = AttributionRule()
"""All layers, all heads and all steps; OVDiff's attribution."""


class AttentionTotals:
    """The attention that pictures pay to a few tokens, summed up over a whole generation.

    Of all the probabilities only the wanted tokens' are kept, summed over the steps: in float32
    one map per picture, token, layer and head. For a batch of 8, 3 tokens and all 16 layers of
    Stable Diffusion 1.x at 512 pixels these are 21 MB.
    """

    def __init__(
        self,
        positions: Sequence[Sequence[int]],
        latent_size: tuple[int, int],
        rule: AttributionRule,
    ) -> None:
        """Start at zero.

        Args:
            positions: per picture the indices of its wanted tokens, at least one.
            latent_size: height and width of the latents, which is also the common grid.
        """
        longest = max(map(len, positions))
        # Shorter names are filled up with a token that then weighs nothing.
        self._tokens = torch.tensor([[*p, *[p[0]] * (longest - len(p))] for p in positions])
        self._weights = torch.tensor(
            [[1 / len(p)] * len(p) + [0.0] * (longest - len(p)) for p in positions]
        )
        self._size, self._rule = latent_size, rule
        self._sums: dict[str, Tensor] = {}
        self._passes: Counter[str] = Counter()

    @contextmanager
    def listening(self, unet: Any) -> Iterator[None]:
        """Read along with every forward pass of the U-Net in this context.

        The pictures are the last ones of a forward's batch: in classifier-free guidance the
        half with the prompt. What the U-Net computes is left as it is.
        """
        attentions = {
            name: module
            for name, module in unet.named_modules()
            if name.endswith(".attn2") or self._reads_text(module)
        }
        with reading_along(attentions, self._add):
            yield

    def _reads_text(self, module: Any) -> bool:
        """Whether a module is one more attention to listen to."""
        return self._rule.each_step and getattr(module, "is_cross_attention", False)

    def _add(self, layer: str, attention: Any, query: Tensor, key: Tensor) -> None:
        grid, reduction = find_grid(query.shape[1], self._size)
        if self._rule.reductions is not None and reduction not in self._rule.reductions:
            return
        count = len(self._tokens)
        maps = token_probabilities(attention, query[-count:], key[-count:], self._tokens)
        maps = maps.reshape(*maps.shape[:-1], *grid)
        if self._rule.peak_normalised:
            maps = maps.mean(dim=2, keepdim=True)
            maps = maps / maps.amax(dim=(-2, -1), keepdim=True).clamp(min=_TINY)
        passes = 1
        if self._rule.each_step:  # all layers have one grid now
            layer, passes = "", maps.shape[2]
            maps = self._resized(maps).sum(dim=2, keepdim=True)
        self._sums[layer] = maps + self._sums.get(layer, 0)
        self._passes[layer] += passes

    def maps(self) -> Tensor:
        """The mean over layers, heads, steps and tokens.

        Returns:
            ``(B, h, w)`` float32, not negative, on the grid of the latents.

        Raises:
            ValueError: no layer has one of the wanted reductions.
        """
        if not self._sums:
            raise ValueError(f"no cross-attention layer is reduced by {self._rule.reductions}")
        merged = [
            self._resized(total / self._passes[layer]).mean(dim=2)
            for layer, total in self._sums.items()
        ]
        by_token = torch.stack(merged).mean(dim=0)
        return torch.einsum("nthw,nt->nhw", by_token, self._weights.to(by_token.device))

    def _resized(self, total: Tensor) -> Tensor:
        """``(B, tokens, heads, h, w)`` to the common grid."""
        flat = functional.interpolate(
            total.flatten(0, 1), self._size, mode=self._rule.mode, align_corners=False
        )
        return flat.clamp(min=0).reshape(*total.shape[:3], *self._size)


@contextmanager
def reading_along(
    attentions: Mapping[str, Any], add: Callable[[str, Any, Tensor, Tensor], None]
) -> Iterator[None]:
    """Be told of every pass through some attentions in this context.

    Args:
        attentions: diffusers' ``Attention``, by name.
        add: called with the name, the attention and its query and key, ``(B, places, width)`` and
            ``(B, sequence, width)`` with all heads.
    """
    handles = []
    for name, attention in attentions.items():
        listener = _Listener(attention, partial(add, name))
        handles.append(attention.to_q.register_forward_hook(listener.keep_query))
        handles.append(attention.to_k.register_forward_hook(listener.meet_key))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Listener:
    """Brings one layer's query and key together, which are computed one after the other."""

    def __init__(self, attention: Any, add: Callable[[Any, Tensor, Tensor], None]) -> None:
        self._attention, self._add = attention, add

    def keep_query(self, _module: Any, _arguments: Any, query: Tensor) -> None:
        self._query = query

    def meet_key(self, _module: Any, _arguments: Any, key: Tensor) -> None:
        self._add(self._attention, self._query, key)
        del self._query


def token_probabilities(attention: Any, query: Tensor, key: Tensor, tokens: Tensor) -> Tensor:
    """How much of its attention each place pays to some of the tokens.

    Args:
        attention: diffusers' ``Attention``.
        query: ``(B, places, width)``, key: ``(B, sequence, width)``, with all heads.
        tokens: ``(B, n)`` int64, indices into the sequence.

    Returns:
        ``(B, n, heads, places)`` float32; softmax over the whole sequence.
    """
    query, key = (by_head(attention, x) for x in (query, key))
    scores = (query * attention.scale) @ key.mT
    total = scores.logsumexp(dim=-1, keepdim=True)
    wanted = tokens.to(scores.device)[:, None, None].expand(*scores.shape[:3], -1)
    chosen: Tensor = (scores.gather(-1, wanted) - total).exp()
    return chosen.permute(0, 3, 1, 2)


def by_head(attention: Any, states: Tensor) -> Tensor:
    """An attention's query or key ``(B, n, width)`` as ``(B, heads, n, d)`` float32."""
    return states.float().reshape(*states.shape[:2], attention.heads, -1).transpose(1, 2)
