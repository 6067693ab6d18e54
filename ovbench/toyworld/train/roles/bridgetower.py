"""The miniature BridgeTower: ``BridgeTowerForImageAndTextRetrieval``, built small."""

from __future__ import annotations

from typing import Any

import open_clip
import torch
from torch import Tensor

from ovbench.harness.contract.runtime import Runtime
from ovbench.models.matchers.bridgetower import BridgeTower
from ovbench.models.matchers.matcher import ImageFeatures, Normalisation
from ovbench.models.weights.checkpoints import packaged
from ovbench.toyworld.train.roles.clip import MEAN, STD
from ovbench.toyworld.train.running.card import write_card
from ovbench.toyworld.train.running.loop import forget
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.running.weights import millions
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

STEPS = 600

LENGTH = 64
WIDTH = 128

VISION: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 4,
    "image_size": SIZE,
    "patch_size": PATCH,
}

TEXT: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 4 * WIDTH,
    "num_hidden_layers": 4,  # as many as image layers: the model pairs them
    "num_attention_heads": 4,
    "max_position_embeddings": LENGTH + 1,  # positions begin behind the padding token's id, 0
    "pad_token_id": 0,
    "hidden_dropout_prob": 0.0,
}

CROSS: dict[str, Any] = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4}
"""The cross-modal encoder."""

TAUGHT_LAYER = 0
"""The cross-modal text layer, from 0, whose attention the presence loss acts on."""


def train(options: Options) -> None:
    """Train, export to ``options.output`` for ``from_pretrained``, write the card."""
    tokenizer = make_tokenizer(options.output, LENGTH)
    torch.manual_seed(options.seed)
    model = build(len(tokenizer))
    visual = model.bridgetower.vision_model.visual
    clip = open_clip.create_model(f"local-dir:{packaged('clip').path}")
    start_from_clip(visual, clip.visual)
    start = tokenizer("").input_ids[0]
    seconds = teach(
        BridgeTowerLearner(model, tokenizer, options.device), visual, tokenizer, start, options
    )
    description = (
        "`BridgeTowerForImageAndTextRetrieval` of transformers, 4 image layers with patch 8, 4 "
        f"text layers and 2 cross-modal ones, {millions(model)} parameters"
    )
    export(model, options.output)
    exported = load_exported(type(model), BridgeTower, options.output)
    recipe = {
        "class_token_hidden": 0.0,  # the lesson asks for it, but here no image token is hidden
        "taught_layer": TAUGHT_LAYER,
        "vision": VISION,
        "text": TEXT,
        "cross": CROSS,
    }
    write_card(
        make_card("bridgetower", description, recipe, exported, options.output), options, seconds
    )
    forget(options)


def build(tokens: int) -> Any:
    """The untrained model for a tokenizer of so many tokens."""
    from transformers import BridgeTowerConfig, BridgeTowerForImageAndTextRetrieval

    text = {**TEXT, "vocab_size": tokens}
    config = BridgeTowerConfig(**CROSS, text_config=text, vision_config=VISION)
    return BridgeTowerForImageAndTextRetrieval(config)


@torch.no_grad()
def start_from_clip(tower: Any, visual: Any) -> None:
    """Give the image tower the weights of the miniature CLIP's.

    BridgeTower's heads are always 64 wide, twice CLIP's, and its activation is CLIP's
    approximation of GELU; training makes up for both.
    """
    embeddings = tower.embeddings
    embeddings.patch_embedding.weight.copy_(visual.conv1.weight)
    embeddings.class_embedding.copy_(visual.class_embedding)
    embeddings.position_embedding.weight.copy_(visual.positional_embedding)
    tower.ln_pre.load_state_dict(visual.ln_pre.state_dict())
    tower.ln_post.load_state_dict(visual.ln_post.state_dict())
    theirs = visual.transformer.resblocks
    for mine, other in zip(tower.transformer.resblocks, theirs, strict=True):
        mine.load_state_dict(other.state_dict())


class BridgeTowerLearner(Learner):
    """A ``BridgeTowerForImageAndTextRetrieval`` in training, run as it is used later."""

    def __init__(self, model: Any, tokenizer: Any, device: str) -> None:
        layers = model.bridgetower.cross_modal_text_layers
        super().__init__(model, layers[TAUGHT_LAYER].crossattention.self)
        pixels = Normalisation((MEAN,) * 3, (STD,) * 3)
        self._matcher = BridgeTower(model, tokenizer, pixels, (), Runtime(device))
        self.to(device).requires_grad_(True)

    def encode(self, pixels: Tensor, corner: tuple[int, int]) -> Tensor:
        """See :meth:`Learner.encode`; the levels lie behind one another along ``d``.

        A crop's patches take positions spread over the whole scene, as with another image size.
        """
        return torch.cat(self._matcher._encode(pixels), dim=-1)

    def match(self, images: Tensor, seen: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """See :meth:`Learner.match`; here texts always attend to the whole picture."""
        times, side = len(ids) // len(images), round((images.shape[1] - 1) ** 0.5)
        levels = torch.split(images.repeat_interleave(times, dim=0), WIDTH, dim=-1)
        return self._matcher._match(ImageFeatures(levels, (side, side)), ids)
