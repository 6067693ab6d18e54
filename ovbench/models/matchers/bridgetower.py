"""BridgeTower for image-text matching, through transformers.

Xu et al., "BridgeTower: Building Bridges Between Encoders in Vision-Language Representation
Learning" (AAAI 2023): a CLIP image tower and a RoBERTa, whose top layers each feed one layer
of a cross-modal encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.matchers.folder import load_folder
from ovbench.models.matchers.matcher import ImageFeatures, Matcher, Normalisation

ROLE = "bridgetower"

_TYPES = {"text": 0, "image": 1}
"""Rows of the token type embedding."""


class BridgeTower(Matcher):
    """A frozen ``BridgeTowerForImageAndTextRetrieval``.

    Its layers with cross-attention are the cross-modal encoder's text layers.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        normalisation: Normalisation,
        checkpoints: tuple[CheckpointRecord, ...],
        runtime: Runtime,
    ) -> None:
        super().__init__(model, tokenizer, normalisation, checkpoints, runtime)
        self._model.set_attn_implementation("eager")  # fused attention hides its probabilities
        self._towers = self._model.bridgetower
        self._towers.vision_model.to(self._dtype)
        vision, text = model.config.vision_config, model.config.text_config
        self.image_size, self.patch_size = vision.image_size, vision.patch_size
        self._depth = text.num_hidden_layers
        self.layers, self.heads = model.config.num_hidden_layers, text.num_attention_heads
        # RoBERTa counts positions from behind the padding token's id.
        self.max_tokens = text.max_position_embeddings - text.pad_token_id - 1

    def _encode(self, pixels: Tensor) -> tuple[Tensor, ...]:
        visual = self._towers.vision_model.visual
        states = visual.forward_pre(pixels, interpolate_pos_encoding=True)
        blocks = visual.transformer.resblocks[: self._depth]
        return tuple(visual.forward_post(top) for top in _tops(blocks, self.layers, states))

    def _encode_text(self, ids: Tensor) -> tuple[Tensor, ...]:
        """As many levels as the images have, each ``(N, n, width)``; equal texts once."""
        text = self._towers.text_model
        unique, place = torch.unique(ids, dim=0, return_inverse=True)
        mask = _additive(self._mask(unique))
        tops = _tops(text.encoder.layer, self.layers, text.embeddings(unique), mask)
        return tuple(top[place] for top in tops)

    def _match(self, features: ImageFeatures, ids: Tensor) -> Tensor:
        towers, mask = self._towers, _additive(self._mask(ids))
        images = (level.expand(len(ids), -1, -1) for level in features.levels)
        text = image = None
        for level, states in enumerate(zip(self._encode_text(ids), images, strict=True)):
            words = self._bridge("text", level, states[0], text)
            places = self._bridge("image", level, states[1], image)
            text = towers.cross_modal_text_layers[level](words, places, attention_mask=mask)[0]
            image = towers.cross_modal_image_layers[level](
                places, words, encoder_attention_mask=mask
            )[0]
        logits: Tensor = self._model.itm_score(towers.get_cls_features(text, image))
        return logits

    def _bridge(self, kind: str, level: int, states: Tensor, below: Tensor | None) -> Tensor:
        """A cross-modal layer's input: its tower's states, joined with the layer below."""

        def part(name: str) -> Any:
            return getattr(self._towers, f"cross_modal_{kind}_{name}")

        transform = part("transform")
        if isinstance(transform, nn.ModuleList):
            transform = transform[level]
        states = transform(states) + self._towers.token_type_embeddings.weight[_TYPES[kind]]
        joined: Tensor = (
            part("layernorm")(states)
            if below is None
            else part("link_tower")[level - 1](states, below, None)
        )
        return joined

    def _attention(self, layer: int) -> nn.Module:
        attention: nn.Module = self._towers.cross_modal_text_layers[layer].crossattention.self
        return attention


def _tops(blocks: Sequence[nn.Module], count: int, states: Tensor, *args: Tensor) -> list[Tensor]:
    """The outputs of the last ``count`` of a tower's blocks."""
    for block in blocks[:-count]:
        states = block(states, *args)
    return [states := block(states, *args) for block in blocks[-count:]]


def _additive(mask: Tensor) -> Tensor:
    """What attention scores are added to: ``(N, 1, 1, n)``, hugely negative at padding."""
    return (1.0 - mask[:, None, None].float()) * torch.finfo(torch.float32).min


def load_bridgetower(name: str, runtime: Runtime) -> BridgeTower:
    """Load a BridgeTower.

    Args:
        name: in the catalogue, such as ``"bridgetower_large_itm"``, or a hub id, optionally
            with ``@revision``. The folder holds, beside the model, ``tokenizer.json`` and
            ``preprocessor_config.json``.
        runtime: its ``checkpoints`` decide between this and the packaged miniature.

    Raises:
        UsageError: weights that cannot be had, or are not those of such a model.
    """
    from transformers import BridgeTowerForImageAndTextRetrieval

    stock = (BridgeTowerForImageAndTextRetrieval, "itm_score")
    return load_folder(BridgeTower, stock, (ROLE, name), runtime)
