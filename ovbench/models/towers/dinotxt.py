"""dino.txt: a head on DINOv2's or DINOv3's tokens and a transformer of texts, learned together.

Jose et al., "DINOv2 Meets Text: A Unified Framework for Image- and Pixel-Level Vision-Language
Alignment" (CVPR 2025); released code: github.com/facebookresearch/dinov2, dinov2/hub/text, and
github.com/facebookresearch/dinov3, dinov3/eval/text. The networks are named as DINOv3's are; a text
and a patch meet in the second half of a text's numbers, the first goes with whole pictures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.ensembling import TextTower, ensembled
from ovbench.models.patches.encoder import PatchEncoder, load_patch_encoder
from ovbench.models.patches.positions import Positions
from ovbench.models.precision import DTYPES, frozen
from ovbench.models.weights.authors import fitted, weights_in
from ovbench.models.weights.checkpoints import locate
from ovbench.models.weights.untrained import seeded, untrained

ROLE = "dinotxt"
TEXT_ROLE = "dinotxt_text"
"""Of a text tower in a file of its own, which the other's entry names."""

LONGEST = 77
"""Tokens of a text; it is cut off there."""

_HEAD = 64
"""Channels of an attention head of the text tower: 1280 of 20."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of both networks, as released by default.

    Attributes:
        width, heads, blocks: of the head, which has the width and the heads of its encoder.
        text_width, text_heads, text_blocks: of the transformer of texts.
        tokens: how many it knows.
        longest: of a text.
    """

    width: int = 1024
    heads: int = 16
    blocks: int = 2
    text_width: int = 1280
    text_heads: int = 20
    text_blocks: int = 24
    tokens: int = 49408
    longest: int = LONGEST


class SelfAttention(nn.Module):
    """Attention without biases but behind it; a place may look at those before it alone."""

    def __init__(self, width: int, heads: int, *, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, states: Tensor) -> Tensor:
        """``(B, tokens, width)`` to the same."""
        count, tokens, width = states.shape
        joined = self.qkv(states).reshape(count, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = joined
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        found: Tensor = self.proj(mixed.transpose(1, 2).reshape(count, tokens, width))
        return found


class SwiGLU(nn.Module):
    """A gated layer; its hidden width is two thirds of four times the width, in steps of 64."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = int(4 * width * 2 / 3)
        hidden += -hidden % 64
        self.w1, self.w2 = nn.Linear(width, hidden), nn.Linear(width, hidden)
        self.w3 = nn.Linear(hidden, width)

    def forward(self, states: Tensor) -> Tensor:
        """``(..., width)`` to the same."""
        found: Tensor = self.w3(functional.silu(self.w1(states)) * self.w2(states))
        return found


class LayerScale(nn.Module):
    """A factor for every channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), 1e-5))

    def forward(self, states: Tensor) -> Tensor:
        """``(..., width)`` to the same."""
        return states * self.gamma


class HeadBlock(nn.Module):
    """A block of the head, as DINO's are."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn, self.mlp = SelfAttention(width, heads), SwiGLU(width)
        self.ls1, self.ls2 = LayerScale(width), LayerScale(width)

    def forward(self, states: Tensor) -> Tensor:
        """``(B, tokens, width)`` to the same."""
        states = states + self.ls1(self.attn(self.norm1(states)))
        found: Tensor = states + self.ls2(self.mlp(self.norm2(states)))
        return found


class VisionHead(nn.Module):
    """Two blocks over an encoder's class token, registers and patches, without positions."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            HeadBlock(sizes.width, sizes.heads) for _ in range(sizes.blocks)
        )
        self.ln_final = nn.LayerNorm(sizes.width)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(B, tokens, width)`` to the same."""
        for block in self.blocks:
            tokens = block(tokens)
        found: Tensor = self.ln_final(tokens)
        return found


class TextBlock(nn.Module):
    """A block of the transformer of texts."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention_norm, self.ffn_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads, causal=True)
        self.feed_forward = nn.ModuleDict(
            {"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)}
        )

    def forward(self, states: Tensor) -> Tensor:
        """``(n, tokens, width)`` to the same."""
        states = states + self.attention(self.attention_norm(states))
        hidden = functional.gelu(self.feed_forward["fc1"](self.ffn_norm(states)))
        found: Tensor = states + self.feed_forward["fc2"](hidden)
        return found


class TextTransformer(nn.Module):
    """Words, each seen by those after it."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.text_width
        self.token_embedding = nn.Embedding(sizes.tokens, width)
        self.positional_embedding = nn.Parameter(torch.randn(sizes.longest, width) * 0.01)
        self.blocks = nn.ModuleList(
            TextBlock(width, sizes.text_heads) for _ in range(sizes.text_blocks)
        )
        self.ln_final = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(n, tokens)`` int64 to ``(n, tokens, width)``."""
        states: Tensor = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        for block in self.blocks:
            states = block(states)
        found: Tensor = self.ln_final(states)
        return found


class TextNetwork(nn.Module):
    """The transformer and what brings its last word's state to where images are."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.backbone = TextTransformer(sizes)
        self.head = nn.ModuleDict(
            {"linear_projection": nn.Linear(sizes.text_width, 2 * sizes.width, bias=False)}
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """``(n, tokens)`` int64, the end's the largest of all, to ``(n, 2 * width)``."""
        states = self.backbone(tokens)
        ends = states[torch.arange(len(tokens), device=tokens.device), tokens.argmax(dim=1)]
        found: Tensor = self.head["linear_projection"](ends)
        return found


class DinoTxt:
    """A frozen encoder of patches with the head on it, and the transformer of texts.

    Encoder and head compute in the runtime's precision, the text tower in float32.

    Attributes:
        checkpoints: which weights these are.
        patch: pixels along a side of a patch.
    """

    def __init__(
        self,
        encoder: PatchEncoder,
        head: VisionHead,
        text: TextNetwork,
        checkpoints: tuple[CheckpointRecord, ...],
        runtime: Runtime,
    ) -> None:
        """Take networks, which are frozen and moved in place."""
        self._dtype = DTYPES[runtime.precision]
        self._head = frozen(head, runtime.device).to(self._dtype)
        self._text = frozen(text, runtime.device)
        self._encoder = encoder
        self.checkpoints = checkpoints
        self.device = torch.device(runtime.device)
        self.patch = encoder.patch_size

    @torch.inference_mode()
    def places(self, images: Tensor, *, head: bool = True) -> Tensor:
        """Every patch.

        Args:
            images: ``(B, 3, H, W)``, normalised; H and W multiples of :attr:`patch`.
            head: behind the head, where texts were trained to be; otherwise before it.

        Returns:
            ``(B, d, h, w)`` float32, not normalised.
        """
        height, width = (side // self.patch for side in images.shape[-2:])
        tokens = self._encoder.tokens(images).to(self._dtype)
        if head:
            tokens = self._head(tokens)
        patches = tokens[:, -height * width :].float()
        found: Tensor = patches.mT.reshape(len(images), -1, height, width)
        return found

    @torch.inference_mode()
    def embed_queries(self, queries: Sequence[str], templates: Sequence[str]) -> Tensor:
        """Embed queries where patches are: the mean over templates, all of unit length.

        Args:
            queries: such as ``"cat"``.
            templates: prompts with ``{}`` for the query.

        Returns:
            ``(n, d)`` float32.
        """
        tower = TextTower(_tokens, self._embedded, self._text)
        return ensembled(tower, queries, templates, unit=True).to(self.device)

    def _embedded(self, tokens: Tensor) -> Tensor:
        joint: Tensor = self._text(tokens.to(self.device))
        return joint[:, joint.shape[1] // 2 :]


def _tokens(texts: list[str]) -> tuple[Tensor]:
    tokens: Tensor = _tokenizer()(texts)
    return (tokens,)


@cache
def _tokenizer() -> Any:
    """CLIP's, whose vocabulary and code the authors publish beside their own."""
    from open_clip import SimpleTokenizer

    return SimpleTokenizer(context_length=LONGEST)


class Release(NamedTuple):
    """What a checkpoint goes with.

    Attributes:
        encoder: in the catalogue, under ``dinov2``.
        positions: see :func:`~ovbench.models.patches.positions.resize_positions`.
        two_files: whether the text tower has one of its own.
    """

    encoder: str
    positions: Positions
    two_files: bool


RELEASES: Mapping[str, Release] = {
    "dinotxt_dinov2_vitl14": Release("dinov2_registers_large", "antialias", True),
    "dinotxt_dinov3_vitl16": Release("dinov3_vitl16", "exact", False),
}
"""By the names in the catalogue."""


def load_dinotxt(name: str, runtime: Runtime) -> DinoTxt:
    """Load both towers, with the encoder that they were trained with.

    Args:
        name: one of :data:`RELEASES`, or ``"random"`` for seeded random weights of all parts at
            the size of DINOv2's, which serve to measure speed.

    Raises:
        UsageError: another name, or weights that cannot be had or are not those of such a model.
    """
    if untrained(name, runtime):
        return _random(runtime)
    own = [locate(ROLE, name, runtime)]
    release = RELEASES[name]
    if release.two_files:
        own.append(locate(TEXT_ROLE, name, runtime))
    encoder = load_patch_encoder("dinov2", release.encoder, runtime, release.positions)
    networks = read_dinotxt([one.path for one in own], encoder.width, encoder.heads)
    records = [record for one in own for record in one.records]
    return DinoTxt(encoder, *networks, (*encoder.checkpoints, *records), runtime)


def read_dinotxt(files: Sequence[Path], width: int, heads: int) -> tuple[VisionHead, TextNetwork]:
    """The networks of the authors' files: one for each, or one with both.

    Args:
        files: of DINOv2 the head's and the text tower's, of DINOv3 the one that has both.
        width, heads: of the encoder.

    Raises:
        UsageError: a file that is damaged, or of another model.
    """
    parts = [weights_in(file) for file in files]
    if len(parts) == 1:  # the frozen encoder and the training's temperature may lie beside them
        whole = parts[0]
        parts = [_under("visual_model.head.", whole), _under("text_model.", whole)]
    head = {re.sub("^block_list", "blocks", name): one for name, one in parts[0].items()}
    usual = Sizes()
    words = parts[1].get("backbone.token_embedding.weight", torch.empty(0, usual.text_width))
    longest = parts[1].get("backbone.positional_embedding", torch.empty(usual.longest, 0))
    sizes = Sizes(
        width=width,
        heads=heads,
        blocks=_blocks("blocks", head),
        text_width=words.shape[1],
        text_heads=max(1, words.shape[1] // _HEAD),
        text_blocks=_blocks("backbone.blocks", parts[1]),
        tokens=len(words),
        longest=len(longest),
    )
    return (
        fitted(VisionHead(sizes), head, files[0]),
        fitted(TextNetwork(sizes), parts[1], files[-1]),
    )


def _under(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): one for n, one in weights.items() if n.startswith(prefix)}


def _blocks(prefix: str, weights: Mapping[str, Tensor]) -> int:
    """How many blocks names tell of."""
    found = [re.match(rf"{re.escape(prefix)}\.(\d+)\.", name) for name in weights]
    return 1 + max((int(match[1]) for match in found if match), default=-1)


def _random(runtime: Runtime) -> DinoTxt:
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    record = CheckpointRecord(ROLE, "dino.txt on DINOv2 ViT-L/14, random weights", None, None)
    sizes = Sizes()
    config = Dinov2WithRegistersConfig(
        hidden_size=sizes.width,
        num_hidden_layers=24,
        num_attention_heads=sizes.heads,
        image_size=518,
        patch_size=14,
    )
    with seeded(runtime):
        encoder = PatchEncoder(Dinov2WithRegistersModel(config), (record,), runtime, "antialias")
        networks = VisionHead(sizes), TextNetwork(sizes)
    return DinoTxt(encoder, *networks, (record,), runtime)
