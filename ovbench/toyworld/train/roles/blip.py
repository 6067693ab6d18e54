"""The miniature BLIP: transformers' ``BlipForImageTextRetrieval``, built small."""

from __future__ import annotations

from typing import Any

import numpy as np
import open_clip
import torch
from torch import Tensor

from ovbench.models.matchers.blip import BLIP, encoder_token
from ovbench.models.weights.checkpoints import packaged
from ovbench.toyworld.train.roles.clip import normalize
from ovbench.toyworld.train.running.card import write_card
from ovbench.toyworld.train.running.loop import forget
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.running.weights import millions
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.train.teaching.matching import (
    PATCH,
    Learner,
    export,
    load_exported,
    make_card,
    make_tokenizer,
    teach,
)
from ovbench.toyworld.world import SIZE

STEPS = 1000

LENGTH = 64
WIDTH = 128
HEADS = 4

VISION: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 4 * WIDTH,
    "num_hidden_layers": 4,
    "num_attention_heads": HEADS,
    "image_size": SIZE,
    "patch_size": PATCH,
    "initializer_range": 0.02,  # the default of 1e-10 leaves a tower at zero
}

TEXT: dict[str, Any] = {
    "hidden_size": WIDTH,
    "encoder_hidden_size": WIDTH,
    "intermediate_size": 4 * WIDTH,
    "num_hidden_layers": 4,
    "num_attention_heads": HEADS,
    "max_position_embeddings": LENGTH,
    "projection_dim": 64,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.1,
}

TAUGHT_LAYER = 1
"""The text layer, from 0, whose attention the presence loss acts on."""


def train(options: Options) -> None:
    """Train, export to ``options.output`` for ``from_pretrained``, write the card."""
    tokenizer = make_tokenizer(options.output, LENGTH)
    torch.manual_seed(options.seed)
    model = build(len(tokenizer))
    clip = open_clip.create_model(f"local-dir:{packaged('clip').path}")
    start_from_clip(model.vision_model, clip.visual)
    start = encoder_token(model.config)
    seconds = teach(BlipLearner(model), model.vision_model, tokenizer, start, options)
    description = (
        "`BlipForImageTextRetrieval` of transformers, 4 image layers with patch 8 and 4 text "
        f"layers, {millions(model)} parameters"
    )
    export(model, options.output)
    exported = load_exported(type(model), BLIP, options.output)
    recipe = {"taught_layer": TAUGHT_LAYER, "vision": VISION, "text": TEXT}
    write_card(make_card("blip", description, recipe, exported, options.output), options, seconds)
    forget(options)


def build(tokens: int) -> Any:
    """The untrained model for a tokenizer of so many tokens, the end token last.

    The vocabulary has one more, [ENC], which stands first in every text to be matched.
    """
    from transformers import BlipConfig, BlipForImageTextRetrieval

    ids = {"pad_token_id": 0, "bos_token_id": tokens, "sep_token_id": tokens - 1}
    text = {**TEXT, **ids, "eos_token_id": tokens - 1, "vocab_size": tokens + 1}
    config = BlipConfig(text_config=text, vision_config=VISION, image_text_hidden_size=64)
    return BlipForImageTextRetrieval(config)


@torch.no_grad()
def start_from_clip(tower: Any, visual: Any) -> None:
    """Give the image tower the weights of the miniature CLIP's.

    The two have the same blocks, but BLIP's has no normalisation before the first. Its usual
    scale and shift go into the embeddings; training makes up for the rest.
    """
    scale, shift = _usual_normalisation(visual)
    embeddings = tower.embeddings
    embeddings.patch_embedding.weight.copy_(visual.conv1.weight * scale[:, None, None, None])
    embeddings.patch_embedding.bias.zero_()
    embeddings.class_embedding.copy_((visual.class_embedding * scale)[None, None])
    embeddings.position_embedding.copy_((visual.positional_embedding * scale + shift)[None])
    for mine, theirs in zip(tower.encoder.layers, visual.transformer.resblocks, strict=True):
        mine.layer_norm1.load_state_dict(theirs.ln_1.state_dict())
        mine.self_attn.qkv.weight.copy_(theirs.attn.in_proj_weight)
        mine.self_attn.qkv.bias.copy_(theirs.attn.in_proj_bias)
        mine.self_attn.projection.load_state_dict(theirs.attn.out_proj.state_dict())
        mine.layer_norm2.load_state_dict(theirs.ln_2.state_dict())
        mine.mlp.fc1.load_state_dict(theirs.mlp.c_fc.state_dict())
        mine.mlp.fc2.load_state_dict(theirs.mlp.c_proj.state_dict())
    tower.post_layernorm.load_state_dict(visual.ln_post.state_dict())


def _usual_normalisation(visual: Any) -> tuple[Tensor, Tensor]:
    """What the layer before the first block does to tokens of average mean and spread."""
    seen: list[Tensor] = []
    hook = visual.ln_pre.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    visual(normalize(SceneBank(64).take(np.arange(64))[0]))
    hook.remove()
    (tokens,) = seen
    scale = visual.ln_pre.weight / tokens.std(dim=-1).mean()
    return scale, visual.ln_pre.bias - tokens.mean() * scale


class BlipLearner(Learner):
    """A ``BlipForImageTextRetrieval`` in training."""

    def __init__(self, model: Any) -> None:
        super().__init__(model, model.text_encoder.encoder.layer[TAUGHT_LAYER].crossattention.self)

    def encode(self, pixels: Tensor, corner: tuple[int, int]) -> Tensor:
        """See :meth:`Learner.encode`; each patch has the position it has in its scene."""
        tower = self.model.vision_model
        place = tower.embeddings.position_embedding
        grid, side = SIZE // PATCH, pixels.shape[-1] // PATCH
        (top, left), patches = corner, place[:, 1:].unflatten(1, (grid, grid))
        patches = patches[:, top : top + side, left : left + side].flatten(1, 2)
        window = {"embeddings.position_embedding": torch.cat([place[:, :1], patches], dim=1)}
        states: Tensor = torch.func.functional_call(tower, window, (pixels,)).last_hidden_state
        return states

    def match(self, images: Tensor, seen: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """See :meth:`Learner.match`."""
        times = len(ids) // len(images)
        states = self.model.text_encoder(
            input_ids=ids,
            attention_mask=mask,
            encoder_hidden_states=images.repeat_interleave(times, dim=0),
            encoder_attention_mask=seen.repeat_interleave(times, dim=0),
        ).last_hidden_state
        logits: Tensor = self.model.itm_head(states[:, 0])
        return logits
