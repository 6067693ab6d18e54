"""OVSegmentor: GroupViT's grouping in a tower that began as DINO, and BERT for its texts.

Xu et al., "Learning Open-vocabulary Semantic Segmentation Models From Natural Language Supervision"
(CVPR 2023); released code: github.com/Jazzcharles/OVSegmentor. transformers'
``GroupViTVisionModel`` without its normalisation of patches, and its ``BertModel``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import log

import torch
from torch import Tensor, nn

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.grouping.authors import stock_names
from ovbench.models.grouping.groupvit import GroupViT
from ovbench.models.towers.words import Words, arbitrary_words, load_words
from ovbench.models.weights.authors import fitted, weights_in
from ovbench.models.weights.checkpoints import locate
from ovbench.models.weights.untrained import seeded, untrained

ROLE = "ovsegmentor"
TOKENIZER = "bert_base_uncased"
"""In the catalogue; the released code takes DistilBERT's, which is the same."""

LONGEST = 512
"""Tokens of a text, of which BERT has positions."""

# What the authors' configuration has, configs/default.yml: 8 heads, although DINO has 12.
VISION = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "depths": [6, 6],
    "num_hidden_layers": 12,
    "num_group_tokens": [64, 0],
    "num_output_groups": [8, 8],
    "num_attention_heads": 8,
}
JOINT = 256
HIDDEN = 4096

# Of the training alone: the momentum tower, what completed masked entities, and their factors;
# the buffer and the pool that transformers gave to BERT then.
_TRAINING = re.compile(
    r"img_encoder_momentum\.|multimodal_groupingblock\.|bridge_projector\.|align_proj_(img|text)\.|"
    r"logit_scale_mask$|multi_label_logit_scale$|"
    r"text_encoder\.transformer\.(embeddings\.position_ids$|pooler\.)"
)


class OVSegmentorNetwork(nn.Module):
    """The weights, by transformers' names."""

    def __init__(
        self, vision: Mapping[str, object] = VISION, text: Mapping[str, object] | None = None
    ) -> None:
        """A new network.

        Args:
            vision: other than the defaults of ``GroupViTVisionConfig``.
            text: other than those of ``BertConfig``, which are BERT-base's.
        """
        from transformers import BertConfig, BertModel, GroupViTVisionConfig, GroupViTVisionModel

        super().__init__()
        seeing, reading = GroupViTVisionConfig(**vision), BertConfig(**text or {})
        self.vision_model = GroupViTVisionModel(seeing).vision_model
        self.vision_model.embeddings.layernorm = nn.Identity()
        self.text_model = BertModel(reading, add_pooling_layer=False)
        self.visual_projection = _projection(seeing.hidden_size)
        self.text_projection = _projection(reading.hidden_size)
        self.logit_scale = nn.Parameter(torch.tensor(log(1 / 0.07)))


class OVSegmentor(GroupViT):
    """A frozen :class:`OVSegmentorNetwork` with the words it knows."""

    def __init__(
        self,
        network: OVSegmentorNetwork,
        words: Words,
        checkpoints: tuple[CheckpointRecord, ...],
        runtime: Runtime,
    ) -> None:
        """Take a network, which is frozen and moved in place."""
        super().__init__(network, checkpoints, runtime)
        self._words = words

    def _tokens(self, prompts: list[str]) -> Sequence[Tensor]:
        return self._words(prompts)

    def _project(self, *tokens: Tensor) -> Tensor:
        """The first token's vector, as the last layer leaves it, in the joint space."""
        ids, there = (rows.to(self.device) for rows in tokens)
        read = self._model.text_model(input_ids=ids, attention_mask=there.long())
        joint: Tensor = self._model.text_projection(read.last_hidden_state[:, 0])
        return joint


def own_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' weights by the names of :class:`OVSegmentorNetwork`.

    What served the training alone is left out; what has no place keeps its name.
    """
    kept = {name: weight for name, weight in weights.items() if not _TRAINING.match(name)}
    positions = kept.get("img_encoder.pos_embed")
    if positions is not None and positions.ndim == 2:
        kept["img_encoder.pos_embed"] = positions[None]
    return {
        re.sub(r"^text_encoder\.transformer\.", "text_model.", name): weight
        for name, weight in stock_names(kept).items()
    }


def load_ovsegmentor(name: str, runtime: Runtime) -> OVSegmentor:
    """Load an OVSegmentor.

    Args:
        name: in the catalogue, such as ``"ovsegmentor_vitb_bert"``, or ``"random"`` for seeded
            random weights of the published size and any words, which serve to measure speed.

    Raises:
        UsageError: weights or words that cannot be had, or are not those of such a model.
    """
    if untrained(name, runtime):
        record = CheckpointRecord(ROLE, "OVSegmentor, random weights", None, None)
        with seeded(runtime):
            network = _new()
        words = arbitrary_words(network.text_model.config.vocab_size)
        return OVSegmentor(network, words, (record,), runtime)
    located = locate(ROLE, name, runtime)
    words = load_words(TOKENIZER, LONGEST, runtime)
    network = fitted(_new(), own_names(weights_in(located.path, "model")), located.path)
    return OVSegmentor(network, words, located.records, runtime)


def _new() -> OVSegmentorNetwork:
    """A network of the published size."""
    return OVSegmentorNetwork()


def _projection(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(width, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, JOINT)
    )
