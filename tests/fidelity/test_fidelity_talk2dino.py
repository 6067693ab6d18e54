"""Talk2DINO's map of texts against what the released one computed."""

from __future__ import annotations

import torch
from oracles import require_close, vectors

from ovbench.models.clip.text_map import TextMapNetwork


@torch.inference_mode()
def test_texts_are_mapped_as_released() -> None:
    given = vectors("talk2dino_inputs")
    texts = given.pop("text")
    network = TextMapNetwork(24, 32)
    network.load_state_dict(given)
    require_close(network(texts), vectors("talk2dino")["mapped"])
