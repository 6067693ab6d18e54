"""Similarities of places and texts, made consistent among neighbours and among classes.

Cho, Shin, Hong, Arnab, Seo and Kim, "CAT-Seg: Cost Aggregation for Open-Vocabulary Semantic
Segmentation" (CVPR 2024), section 3; released code: github.com/KU-CVLAB/CAT-Seg. Swin's blocks
(Liu et al., ICCV 2021) look among places, linear attention (Katharopoulos et al., ICML 2020) among
classes; what queries and keys are made of is guided by CLIP's own features.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

_APART = -100.0
"""Added before the softmax where two places are no neighbours in the picture."""

LEFT_OUT = -100.0
"""The logit of a class that was too little like any place to be asked for."""

_EPSILON = 1e-6
_AT_A_TIME = 32
"""Classes in the decoder together, whose maps have sixteen times as many places; our choice."""


class Sizes(NamedTuple):
    """Of an aggregation.

    Attributes:
        joint: numbers in a vector of CLIP's.
        width: of the tokens of CLIP's image tower.
        hidden: numbers for each place of each class.
        guide: numbers of guidance, of a place as of a text.
        heads: of every attention.
        grid: places along a side.
        window: places along a side that look at each other.
        layers: of attention among places and then among classes.
        classes: that look at each other; fewer are filled up by a learned one, of more the most
            similar count.
        read: numbers of the two finer maps that are made of CLIP's tokens.
        shown: what these become beside the decoder's own.
        decoded: numbers for each place after either step of the decoder.
    """

    joint: int
    width: int
    hidden: int = 128
    guide: int = 128
    heads: int = 4
    grid: int = 24
    window: int = 12
    layers: int = 2
    classes: int = 256
    read: tuple[int, int] = (256, 128)
    shown: tuple[int, int] = (32, 16)
    decoded: tuple[int, int] = (64, 32)


class GuidedProjections(nn.Module):
    """Queries and keys of what is known with its guidance, values without it."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.q = nn.Linear(sizes.hidden + sizes.guide, sizes.hidden)
        self.k = nn.Linear(sizes.hidden + sizes.guide, sizes.hidden)
        self.v = nn.Linear(sizes.hidden, sizes.hidden)

    def forward(self, tokens: Tensor, guidance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``(B, n, hidden)`` and ``(B, n, guide)`` to ``(B, heads, n, d)``, three times."""
        guided = torch.cat([tokens, guidance], dim=-1)
        parts = self.q(guided), self.k(guided), self.v(tokens)
        query, key, value = (p.unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in parts)
        return query, key, value


class WindowBlock(nn.Module):
    """Attention among the places of a window, and an MLP."""

    apart: Tensor

    def __init__(self, sizes: Sizes, *, shifted: bool) -> None:
        """Lay windows from the edge of the grid on, or from half a window behind it."""
        super().__init__()
        self.window = sizes.window
        self.shift = sizes.window // 2 if shifted else 0
        self.norm1 = nn.LayerNorm(sizes.hidden)
        self.attention = GuidedProjections(sizes)
        self.proj = nn.Linear(sizes.hidden, sizes.hidden)
        self.norm2 = nn.LayerNorm(sizes.hidden)
        self.mlp = _mlp(sizes.hidden, nn.GELU())
        self.register_buffer("apart", self._apart(sizes.grid), persistent=False)

    def forward(self, places: Tensor, guidance: Tensor) -> Tensor:
        """``(B, side, side, hidden)``, with guidance ``(B, side, side, guide)``."""
        known, told = self._windows(self.norm1(places)), self._windows(guidance)
        parts = self.attention(known.flatten(0, 1), told.flatten(0, 1))
        query, key, value = (part.reshape(*known.shape[:2], *part.shape[1:]) for part in parts)
        mask = self.apart[:, None]
        found = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        mixed = self.proj(found.transpose(2, 3).flatten(3))
        places = places + self._back(mixed, places.shape[1])
        return places + self.mlp(self.norm2(places))  # type: ignore[no-any-return]

    def _windows(self, places: Tensor) -> Tensor:
        """``(B, side, side, c)`` as ``(B, windows, places, c)``."""
        batch, side, _, channels = places.shape
        edge, tiles = self.window, side // self.window
        rolled = places.roll((-self.shift, -self.shift), (1, 2))
        tiled = rolled.reshape(batch, tiles, edge, tiles, edge, channels).transpose(2, 3)
        return tiled.reshape(batch, tiles * tiles, edge * edge, channels)

    def _back(self, windows: Tensor, side: int) -> Tensor:
        """``(B, windows, places, c)`` as ``(B, side, side, c)``."""
        batch, edge, tiles = len(windows), self.window, side // self.window
        tiled = windows.reshape(batch, tiles, tiles, edge, edge, -1).transpose(2, 3)
        return tiled.reshape(batch, side, side, -1).roll((self.shift, self.shift), (1, 2))

    def _apart(self, side: int) -> Tensor:
        """``(windows, places, places)``: of the last windows, a part is from the other edge."""
        around = (torch.arange(side) < self.shift).float()
        edges = 2 * around[:, None] + around
        regions = self._windows(edges[None, ..., None])[0, ..., 0]
        return _APART * (regions[:, None] != regions[:, :, None])


class ClassBlock(nn.Module):
    """Linear attention among the classes of one place, and an MLP."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.classes = sizes.classes
        self.norm1 = nn.LayerNorm(sizes.hidden)
        self.attention = GuidedProjections(sizes)
        self.norm2 = nn.LayerNorm(sizes.hidden)
        self.mlp = _mlp(sizes.hidden, nn.ReLU())
        self.nothing = nn.Parameter(torch.zeros(1, 1, sizes.hidden))
        self.unnamed = nn.Parameter(torch.zeros(1, 1, sizes.guide))

    def forward(self, tokens: Tensor, texts: Tensor) -> Tensor:
        """``(places, n, hidden)`` of n classes, with guidance ``(n, guide)`` by their texts."""
        mixed = tokens + self._mixed(self.norm1(tokens), texts.expand(len(tokens), -1, -1))
        # What enters is added once more, as the released code does for pooled places as well.
        return tokens + mixed + self.mlp(self.norm2(mixed))  # type: ignore[no-any-return]

    def _mixed(self, tokens: Tensor, texts: Tensor) -> Tensor:
        query, key, value = self.attention(tokens, texts)
        _, no_key, no_value = self.attention(self.norm1(self.nothing), self.unnamed)
        query, key, no_key = (functional.elu(part) + 1 for part in (query, key, no_key))
        # What classes are filled up with is everywhere the same: one stands for all of it.
        lacking = max(self.classes - tokens.shape[1], 0)
        count = tokens.shape[1] + lacking  # divides sums that would pass float16's range
        weight = key.sum(dim=-2) + lacking * no_key.sum(dim=-2)
        total = query @ weight[..., None] + _EPSILON
        known = key.mT @ (value / count) + lacking * (no_key.mT @ (no_value / count))
        found: Tensor = query @ known / total * count
        return found.transpose(1, 2).flatten(2)


class Layer(nn.Module):
    """Places of each class look at each other, then classes of each place."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.guidance_norm = nn.LayerNorm(sizes.guide)
        self.block_1 = WindowBlock(sizes, shifted=False)
        self.block_2 = WindowBlock(sizes, shifted=True)
        self.among_classes = ClassBlock(sizes)

    def forward(self, volume: Tensor, places: Tensor, texts: Tensor) -> Tensor:
        """``(n, side, side, hidden)`` by the guidance of places and of texts."""
        guidance = self.guidance_norm(places).expand(len(volume), -1, -1, -1)
        volume = self.block_2(self.block_1(volume, guidance), guidance)
        side = volume.shape[1]
        tokens: Tensor = self.among_classes(volume.flatten(1, 2).transpose(0, 1), texts)
        return tokens.transpose(0, 1).reshape(-1, side, side, tokens.shape[-1])


class Finer(nn.Module):
    """Doubles the sides of a map, beside which guidance is put, and convolves it twice."""

    def __init__(self, given: int, made: int, shown: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(given, given - shown, 2, stride=2)
        self.conv = nn.Sequential(
            nn.Conv2d(given, made, 3, padding=1, bias=False),
            nn.GroupNorm(made // 16, made),
            nn.ReLU(),
            nn.Conv2d(made, made, 3, padding=1, bias=False),
            nn.GroupNorm(made // 16, made),
            nn.ReLU(),
        )

    def forward(self, maps: Tensor, guidance: Tensor) -> Tensor:
        """``(n, c, h, w)`` with guidance ``(1, shown, 2 * h, 2 * w)``."""
        shown = guidance.expand(len(maps), -1, -1, -1)
        return self.conv(torch.cat([self.up(maps), shown], dim=1))  # type: ignore[no-any-return]


class Aggregation(nn.Module):
    """From CLIP's features of a window and of texts to a logit of each text at every place."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.classes = sizes.classes
        self.embed = nn.Conv2d(1, sizes.hidden, 7, padding=3)
        self.to_places = nn.Conv2d(sizes.joint, sizes.guide, 3, padding=1)
        self.to_texts = nn.Linear(sizes.joint, sizes.guide)
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.layers))
        self.to_shown = nn.ModuleList(
            nn.Conv2d(read, shown, 3, padding=1)
            for read, shown in zip(sizes.read, sizes.shown, strict=True)
        )
        given = (sizes.hidden, sizes.decoded[0])
        self.finer = nn.ModuleList(
            Finer(*three) for three in zip(given, sizes.decoded, sizes.shown, strict=True)
        )
        self.head = nn.Conv2d(sizes.decoded[1], 1, 3, padding=1)

    def forward(self, places: Tensor, finer: tuple[Tensor, Tensor], texts: Tensor) -> Tensor:
        """Logits of n texts.

        Args:
            places: ``(1, joint, side, side)``, CLIP's, of any length.
            finer: ``(1, c, 2 * side, 2 * side)`` and ``(1, c', 4 * side, 4 * side)``.
            texts: ``(n, joint)`` of unit length.

        Returns:
            ``(n, 4 * side, 4 * side)``; of more texts than look at each other, those that are
            less similar to every place have :data:`LEFT_OUT`.
        """
        similar = torch.einsum("cyx,tc->tyx", functional.normalize(places, dim=1)[0], texts)
        most = min(len(texts), self.classes)
        chosen = similar.flatten(1).amax(dim=1).topk(most).indices.sort().values
        volume = self.embed(similar[chosen, None]).permute(0, 2, 3, 1)
        by_places = functional.relu(self.to_places(places)).permute(0, 2, 3, 1)
        by_texts = functional.relu(self.to_texts(texts[chosen]))
        for layer in self.layers:
            volume = layer(volume, by_places, by_texts)
        shown = [functional.relu(to(one)) for to, one in zip(self.to_shown, finer, strict=True)]
        found = [self._decoded(some, shown) for some in volume.split(_AT_A_TIME)]
        side = finer[1].shape[-1]
        logits: Tensor = volume.new_full((len(texts), side, side), LEFT_OUT)
        logits[chosen] = torch.cat(found)
        return logits

    def _decoded(self, volume: Tensor, shown: list[Tensor]) -> Tensor:
        maps = volume.permute(0, 3, 1, 2)
        for finer, one in zip(self.finer, shown, strict=True):
            maps = finer(maps, one)
        logits: Tensor = self.head(maps)
        return logits[:, 0]


def _mlp(width: int, between: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 4 * width), between, nn.Linear(4 * width, width))
