"""BLIP for image-text matching, through transformers.

Li et al., "BLIP: Bootstrapping Language-Image Pre-training for Unified Vision-Language
Understanding and Generation" (ICML 2022): a vision transformer, and a BERT whose every layer
attends to its output.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.matchers.folder import load_folder
from ovbench.models.matchers.matcher import ImageFeatures, Matcher, Normalisation

ROLE = "blip"


def encoder_token(config: Any) -> int:
    """The id of [ENC], which stands first in every text that is matched with an image.

    BLIP was trained with two tokens behind BERT's 30522, [DEC] and then [ENC]. The hub's
    tokenizers do not know them, the embedding does: [ENC] is the last id of the vocabulary.

    Args:
        config: of ``BlipForImageTextRetrieval``.
    """
    return int(config.text_config.vocab_size) - 1


class BLIP(Matcher):
    """A frozen ``BlipForImageTextRetrieval``."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        normalisation: Normalisation,
        checkpoints: tuple[CheckpointRecord, ...],
        runtime: Runtime,
    ) -> None:
        super().__init__(model, tokenizer, normalisation, checkpoints, runtime)
        self._model.vision_model.to(self._dtype)
        vision, text = model.config.vision_config, model.config.text_config
        self.image_size, self.patch_size = vision.image_size, vision.patch_size
        self.layers, self.heads = text.num_hidden_layers, text.num_attention_heads
        self.max_tokens = text.max_position_embeddings

    def _encode(self, pixels: Tensor) -> tuple[Tensor, ...]:
        return (self._model.vision_model(pixels, interpolate_pos_encoding=True).last_hidden_state,)

    def _match(self, features: ImageFeatures, ids: Tensor) -> Tensor:
        mask, ids = self._mask(ids), ids.clone()
        ids[:, 0] = encoder_token(self._model.config)
        # A single image is broadcast, so that its keys and values are projected once.
        states = self._model.text_encoder(
            input_ids=ids, attention_mask=mask, encoder_hidden_states=features.levels[0]
        )
        logits: Tensor = self._model.itm_head(states.last_hidden_state[:, 0])
        return logits

    def _attention(self, layer: int) -> nn.Module:
        attention: nn.Module = self._model.text_encoder.encoder.layer[layer].crossattention.self
        return attention


def load_blip(name: str, runtime: Runtime) -> BLIP:
    """Load a BLIP.

    Args:
        name: in the catalogue, such as ``"blip_flickr"``, or a hub id, optionally with
            ``@revision``. The folder holds, beside the model, ``tokenizer.json`` and
            ``preprocessor_config.json``.
        runtime: its ``checkpoints`` decide between this and the packaged miniature.

    Raises:
        UsageError: weights that cannot be had, or are not those of such a model.
    """
    from transformers import BlipForImageTextRetrieval

    stock = (BlipForImageTextRetrieval, "itm_head")
    return load_folder(BLIP, stock, (ROLE, name), runtime)
