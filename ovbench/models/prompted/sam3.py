"""SAM 3: asked for a noun phrase, it marks every instance of it, and all of it together.

Carion et al., "SAM 3: Segment Anything with Concepts" (2025), through transformers' ``Sam3Model``.
A picture goes through the image encoder once, however many phrases it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.precision import DTYPES, autocast, frozen
from ovbench.models.weights.checkpoints import locate
from ovbench.models.weights.pretrained import stock
from ovbench.models.weights.untrained import seeded, untrained

ROLE = "sam3"


@dataclass(frozen=True, slots=True)
class Phrases:
    """Phrases as the network reads them.

    Attributes:
        tokens: ``(n, L, d)`` float32.
        mask: ``(n, L)``, true where there is a token.
        words: ``(n, e)`` float32, of each phrase the mean of its words before the text encoder.
    """

    tokens: Tensor
    mask: Tensor
    words: Tensor

    def __getitem__(self, chosen: Tensor) -> Phrases:
        """Some of them, by index."""
        return Phrases(self.tokens[chosen], self.mask[chosen], self.words[chosen])

    def __len__(self) -> int:
        return len(self.tokens)

    def beside(self, tokens: Tensor) -> Phrases:
        """With further tokens ``(n, k, d)`` behind each."""
        there = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        joined = torch.cat([self.tokens, tokens], dim=1)
        return Phrases(joined, torch.cat([self.mask, there], dim=1), self.words)


@dataclass(frozen=True, slots=True)
class ConceptMasks:
    """What one picture has of n phrases, all logits in float32.

    Attributes:
        scores: ``(n, q)``, of every object query.
        masks: ``(n, q, h, w)``.
        semantic: ``(n, h, w)``, of the phrase as a whole.
        presence: ``(n,)``, whether the picture shows it at all.
    """

    scores: Tensor
    masks: Tensor
    semantic: Tensor
    presence: Tensor


class SAM3:
    """A frozen ``Sam3Model``. Precisions other than float32 are autocast, as in the released code.

    Attributes:
        checkpoints: which weights these are.
        side: of the squares that it was trained on, in pixels.
        patch: pixels along a side of a patch.
    """

    def __init__(
        self, model: Any, checkpoints: tuple[CheckpointRecord, ...], runtime: Runtime
    ) -> None:
        """Wrap a built model, which is frozen and moved in place."""
        from open_clip import tokenize

        self._model = frozen(model, runtime.device)
        self._dtype = DTYPES[runtime.precision]
        self._tokenize = tokenize
        self.checkpoints = checkpoints
        self.device = torch.device(runtime.device)
        vision = model.config.vision_config.backbone_config
        self.side: int = vision.image_size
        self.patch: int = vision.patch_size

    @torch.inference_mode()
    def read(self, phrases: Sequence[str]) -> Phrases:
        """Phrases, as they are: CLIP's words, cut off where they are too many."""
        length = self._model.config.text_config.max_position_embeddings
        ids = self._tokenize(list(phrases), length).to(self.device)
        # Behind the word that ends a phrase, whose number is the highest, there is nothing.
        mask = torch.arange(length, device=self.device) <= ids.argmax(dim=1)[:, None]
        with autocast(self.device, self._dtype):
            read = self._model.get_text_features(input_ids=ids, attention_mask=mask.long())
            words = self._model.text_encoder.get_input_embeddings()(ids)
        spoken = mask[..., None].float()
        mean = (words.float() * spoken).sum(dim=1) / spoken.sum(dim=1)
        return Phrases(read.pooler_output.float(), mask, mean)

    @torch.inference_mode()
    def as_tokens(self, words: Tensor) -> Tensor:
        """Means of words ``(..., e)`` as tokens of a prompt, ``(..., d)`` float32."""
        projected: Tensor = self._model.text_projection(words)
        return projected.float()

    @torch.inference_mode()
    def see(self, pixels: Tensor) -> Any:
        """A picture, for :meth:`find` and :meth:`presence`.

        Args:
            pixels: ``(1, 3, S, S)`` normalised; S is a multiple of :attr:`patch`.
        """
        self._lay_out(pixels.shape[-1])
        with autocast(self.device, self._dtype):
            return self._model.get_vision_features(pixels.to(self.device))

    @torch.inference_mode()
    def find(self, picture: Any, prompts: Phrases) -> ConceptMasks:
        """Look for some phrases in a picture that was seen; all at once.

        At 1008 pixels the masks of a phrase take 66 MB in float32.
        """
        with autocast(self.device, self._dtype):
            found = self._model(
                vision_embeds=_repeated(picture, len(prompts)),
                text_embeds=SimpleNamespace(pooler_output=prompts.tokens),
                attention_mask=prompts.mask,
            )
        return ConceptMasks(
            found.pred_logits.float(),
            found.pred_masks.float(),
            found.semantic_seg[:, 0].float(),
            found.presence_logits[:, 0].float(),
        )

    @torch.inference_mode()
    def presence(self, picture: Any, prompts: Phrases) -> Tensor:
        """The logits :attr:`ConceptMasks.presence` alone: no mask is made."""
        seen = _repeated(picture, len(prompts))
        with autocast(self.device, self._dtype):
            encoded = self._model.detr_encoder(
                vision_features=[seen.fpn_hidden_states[-2]],
                text_features=prompts.tokens,
                vision_pos_embeds=[seen.fpn_position_encoding[-2]],
                text_mask=prompts.mask,
            )
            decoded = self._model.detr_decoder(
                vision_features=encoded.last_hidden_state,
                text_features=encoded.text_features,
                vision_pos_encoding=encoded.pos_embeds_flattened,
                text_mask=prompts.mask,
                spatial_shapes=encoded.spatial_shapes,
            )
        logits: Tensor = decoded.presence_logits[-1]
        return logits[:, 0].float()

    def _lay_out(self, side: int) -> None:
        """Let blocks that see the whole picture know its grid: stock positions are of one size."""
        for block in self._model.vision_encoder.backbone.layers:
            grid = (side // self.patch) ** 2
            if block.window_size == 0 and len(block.position_ids) != grid:
                config = copy(block.config)
                config.image_size = side
                places = block.precompute_positions(config, 0)
                block.position_ids = places.to(block.position_ids.device)


def _repeated(picture: Any, count: int) -> Any:
    """A picture as a batch of itself, without a copy."""
    return type(picture)(
        fpn_hidden_states=tuple(x.expand(count, -1, -1, -1) for x in picture.fpn_hidden_states),
        fpn_position_encoding=tuple(
            x.expand(count, -1, -1, -1) for x in picture.fpn_position_encoding
        ),
    )


def load_sam3(name: str, runtime: Runtime) -> SAM3:
    """Load SAM 3.

    Args:
        name: in the catalogue, such as ``"sam3"``, a hub id, optionally with ``@revision``, or
            ``"random"`` for seeded random weights of the published size, which serve to measure
            speed.

    Raises:
        UsageError: weights that cannot be had, or are not those of such a model.
    """
    from transformers import Sam3Config, Sam3Model

    if untrained(name, runtime):
        record = CheckpointRecord(ROLE, "SAM 3, random weights", None, None)
        with seeded(runtime):
            return SAM3(Sam3Model(Sam3Config()), (record,), runtime)
    located = locate(ROLE, name, runtime)
    return SAM3(stock(Sam3Model, located.path), located.records, runtime)


def neighbours(prompts: Phrases, count: int) -> Tensor:
    """Of each phrase the words of others that are most like its own, ``(n, count, e)``.

    ActiveSAM, activesam/prompt_expansion/neighbor_tokens.py: each is weighted by the softmax of its
    cosine among those that are taken.
    """
    unit = functional.normalize(prompts.words, dim=-1)
    likeness = (unit @ unit.T).fill_diagonal_(-torch.inf)
    values, places = likeness.topk(min(count, len(prompts) - 1), dim=1)
    return prompts.words[places] * values.softmax(dim=1)[..., None]
