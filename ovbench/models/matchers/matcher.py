"""Image-text matchers: does a text describe an image, and where does each word look?

What PnP-OVSS (Luo et al., CVPR 2024) asks of a vision-language model with cross-attention:
one prompt that lists class names, the logit that it matches the image, and the gradient of
that logit with respect to one layer's text-to-image attention.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.precision import DTYPES, frozen

TEXTS_PER_PASS = 64
"""Texts matched with an image at a time."""

_MATCH = 1
"""The index of "match" in both models' two-way heads; 0 is "no match"."""


@dataclass(frozen=True, slots=True)
class TextPrompt:
    """A tokenized text that lists names.

    Attributes:
        token_ids: with the tokenizer's start and end tokens, without padding.
        positions: per name, in order, the indices of its tokens within ``token_ids``.
    """

    token_ids: tuple[int, ...]
    positions: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """Encoded images.

    Attributes:
        levels: each ``(B, 1 + h * w, width)`` float32, the class token first: what the text is
            matched with, from the lowest level to the highest.
        grid: h and w.
    """

    levels: tuple[Tensor, ...]
    grid: tuple[int, int]

    def __len__(self) -> int:
        """The number of images."""
        return len(self.levels[0])

    def __getitem__(self, index: slice) -> ImageFeatures:
        """Some of the images."""
        return ImageFeatures(tuple(level[index] for level in self.levels), self.grid)

    def take(self, indices: Sequence[int]) -> ImageFeatures:
        """Some of the images, by index; all of them in order are not copied."""
        if list(indices) == list(range(len(self))):
            return self
        at = list(indices)
        return ImageFeatures(tuple(level[at] for level in self.levels), self.grid)


class Match(NamedTuple):
    """How well texts match images.

    Attributes:
        logits: ``(B, T)`` float32, the head's output for "match".
        probabilities: ``(B, T)`` float32, of "match" against "no match".
    """

    logits: Tensor
    probabilities: Tensor


class CrossAttention(NamedTuple):
    """One layer's text-to-image attention; the key of the image's class token is left out.

    Rows of padding tokens, behind the end of a shorter prompt, mean nothing.

    Attributes:
        probabilities: ``(B, heads, tokens, h, w)`` float32; with the class token's share they
            sum to 1 over the image.
        gradients: of each image's match logit with respect to them; same shape and dtype.
        logits: ``(B,)`` float32, for "match".
    """

    probabilities: Tensor
    gradients: Tensor
    logits: Tensor


class Normalisation(NamedTuple):
    """How pixels scaled to 0..1 become input: per channel, less ``mean``, divided by ``std``."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class Matcher(ABC):
    """A frozen image-text matching model.

    The image tower computes in the runtime's precision. What reads text stays in float32,
    since its attention gradients are the product and are too small for half precision.

    Attributes:
        checkpoints: which weights these are.
        mean, std: per channel, of pixels scaled to 0..1, as the model was trained.
        image_size: the side in pixels of the square images it was trained on.
        patch_size: pixels per location of the image grid, along both axes.
        layers: text layers with cross-attention; ``heads`` in each.
        max_tokens: the longest sequence the text encoder has positions for, start and end
            tokens included.
    """

    patch_size: int
    image_size: int
    layers: int
    heads: int
    max_tokens: int

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        normalisation: Normalisation,
        checkpoints: tuple[CheckpointRecord, ...],
        runtime: Runtime,
    ) -> None:
        """Wrap a built model.

        Args:
            model: of the class named in the subclass; it is frozen and moved in place.
            tokenizer: as ``transformers.AutoTokenizer`` returns it.
        """
        self._model = frozen(model.float(), runtime.device)
        named = self._model.named_modules()
        self._image_norms = [
            part
            for name, part in named
            if "vision_model" in name and isinstance(part, nn.LayerNorm)
        ]
        self._dtype = DTYPES[runtime.precision]
        self._tokenizer = tokenizer
        self.mean, self.std = normalisation
        self.checkpoints = checkpoints
        self.device = torch.device(runtime.device)

    @abstractmethod
    def _encode(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """The levels of :class:`ImageFeatures`, in the image tower's dtype."""

    @abstractmethod
    def _match(self, features: ImageFeatures, ids: Tensor) -> Tensor:
        """The matching head's two logits for every text, ``(N, 2)``.

        Args:
            features: of N images, one per text, or of one that all are matched with.
            ids: ``(N, n)`` int64, padded token ids.
        """

    @abstractmethod
    def _attention(self, layer: int) -> nn.Module:
        """A text layer's cross-attention, which returns (context, probabilities)."""

    @torch.no_grad()
    def encode_images(self, images: Tensor, layer_norm_eps: float | None = None) -> ImageFeatures:
        """Encode images of any size; position embeddings are interpolated (bicubic).

        Args:
            images: ``(B, 3, H, W)``, normalised; H and W multiples of :attr:`patch_size`.
            layer_norm_eps: of the image tower, in place of its configuration's.
        """
        height, width = images.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(f"{height}x{width} is no multiple of the patch {self.patch_size}")
        with _epsilon(self._image_norms, layer_norm_eps):
            levels = self._encode(images.to(self.device, self._dtype))
        grid = (height // self.patch_size, width // self.patch_size)
        return ImageFeatures(tuple(level.float() for level in levels), grid)

    def prompts(
        self,
        names: Sequence[str],
        prefix: str = "A picture of",
        max_tokens: int | None = None,
    ) -> list[TextPrompt]:
        """List names in a prompt, or in as few as :attr:`max_tokens` allows.

        Names are joined with single blanks, as PnP-OVSS's code does.

        Args:
            max_tokens: a lower limit than the model's own.

        Returns:
            Prompts which together hold every name once, in order.

        Raises:
            UsageError: a name without tokens, or too long for a prompt of its own.
        """
        start, end = self._tokenizer("").input_ids
        head = (start, *self._tokenizer(prefix, add_special_tokens=False).input_ids)
        limit = self.max_tokens if max_tokens is None else min(max_tokens, self.max_tokens)
        room = limit - len(head) - 1
        pieces = [self._pieces(name, room) for name in names]
        return [_assemble(head, chunk, end) for chunk in _pack(pieces, room)]

    def _pieces(self, name: str, limit: int) -> list[int]:
        # With the blank: byte-level tokenizers tell a word's beginning by it.
        ids: list[int] = self._tokenizer(f" {name}", add_special_tokens=False).input_ids
        if not 0 < len(ids) <= limit:
            raise UsageError(
                f"class name {name!r} makes {len(ids)} tokens; "
                f"{self.checkpoints[0].name} takes 1 to {limit}: rename the class"
            )
        return ids

    def pieces(self, prompt: TextPrompt) -> list[str]:
        """The text of each token, without the mark of pieces that go on a word."""
        tokens: list[str] = self._tokenizer.convert_ids_to_tokens(list(prompt.token_ids))
        return [token.removeprefix("##") for token in tokens]

    @torch.no_grad()
    def match(self, features: ImageFeatures, texts: Sequence[str]) -> Match:
        """Match every image with every text; texts beyond :attr:`max_tokens` are cut."""
        ids = self._tokenize(texts)
        parts = torch.split(ids, TEXTS_PER_PASS)
        images = [features[i : i + 1] for i in range(len(features))]
        logits = [torch.cat([self._match(image, part) for part in parts]) for image in images]
        both = torch.stack(logits)
        return Match(both[..., _MATCH], both.softmax(dim=-1)[..., _MATCH])

    def cross_attention(
        self, features: ImageFeatures, prompts: Sequence[TextPrompt], layer: int
    ) -> CrossAttention:
        """Attention and its gradient for a batch of images, with one backward pass.

        Gradients are followed from the head down to the layer's attention and no further.
        Not to be called within ``torch.inference_mode``, which knows no gradients.

        Args:
            prompts: one per image; lengths may differ.
            layer: of the text layers with cross-attention, from 0.
        """
        if not 0 <= layer < self.layers:
            raise ValueError(f"layer {layer} is not one of 0..{self.layers - 1}")
        if len(prompts) != len(features):
            raise ValueError(f"{len(prompts)} prompts for {len(features)} images")
        with torch.enable_grad(), _graph_from(self._attention(layer)) as seen:
            logits = self._match(features, self._pad(prompts))[:, _MATCH]
            (probabilities,) = seen
            (gradients,) = torch.autograd.grad(logits.sum(), probabilities)
        return CrossAttention(
            _maps(probabilities, features.grid), _maps(gradients, features.grid), logits.detach()
        )

    def _mask(self, ids: Tensor) -> Tensor:
        """1 for tokens to attend to, 0 for padding; ``(N, n)`` int64."""
        return torch.ne(ids, self._tokenizer.pad_token_id).long()

    def _pad(self, prompts: Sequence[TextPrompt]) -> Tensor:
        ids = [torch.tensor(prompt.token_ids) for prompt in prompts]
        padding = self._tokenizer.pad_token_id
        padded: Tensor = nn.utils.rnn.pad_sequence(ids, True, padding).to(self.device)
        return padded

    def _tokenize(self, texts: Sequence[str]) -> Tensor:
        encoded = self._tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        )
        ids: Tensor = encoded.input_ids
        return ids.to(self.device)


def _maps(attention: Tensor, grid: tuple[int, int]) -> Tensor:
    """From keys to places, without the class token; ``(B, heads, tokens, h, w)``."""
    places = attention.detach()[..., 1:]
    return places.reshape(*places.shape[:-1], *grid)


def _pack(pieces: Sequence[list[int]], room: int) -> list[list[list[int]]]:
    """Consecutive pieces together, as many as there is room for."""
    chunks: list[list[list[int]]] = []
    left = 0
    for ids in pieces:
        if len(ids) > left:
            chunks.append([])
            left = room
        chunks[-1].append(ids)
        left -= len(ids)
    return chunks


def _assemble(head: tuple[int, ...], names: Sequence[Sequence[int]], end: int) -> TextPrompt:
    ids, positions = list(head), []
    for name in names:
        positions.append(tuple(range(len(ids), len(ids) + len(name))))
        ids += name
    return TextPrompt((*ids, end), tuple(positions))


@contextmanager
def _epsilon(norms: Sequence[nn.LayerNorm], value: float | None) -> Iterator[None]:
    """Compute with another epsilon for a while."""
    before = [norm.eps for norm in norms]
    try:
        if value is not None:
            for norm in norms:
                norm.eps = value
        yield
    finally:
        for norm, eps in zip(norms, before, strict=True):
            norm.eps = eps


@contextmanager
def _graph_from(attention: nn.Module) -> Iterator[list[Tensor]]:
    """Let autograd's graph begin at this attention; collects its probabilities.

    The weights are frozen, so below it there is nothing to differentiate or to keep in memory.
    """
    seen: list[Tensor] = []

    def enter(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0].detach().requires_grad_(), *args[1:])

    def leave(_: nn.Module, __: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        seen.append(output[1])

    hooks = attention.register_forward_pre_hook(enter), attention.register_forward_hook(leave)
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
