"""What a vocabulary costs SAM 3: with and without the picture encoded once, and with pruning.

    python -m benchmarks.sam3 [--classes 20 80 171] [--repeats 1]

transformers' ``Sam3Model`` with random weights in a small configuration: 336 pixels, six blocks of
192 channels, detectors of two layers and 64 channels, 50 object queries. Labels of the smallest
vocabulary are compared before anything is timed. Contestants take turns; processor seconds an image
of 375x500, medians.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from benchmarks.comparison import Row, in_turn, show
from ovbench.adapters.prompted import sam3 as adapter
from ovbench.adapters.prompted.sam3 import Sam3Method, Sam3Settings
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.prompted.sam3 import SAM3, ConceptMasks, Phrases

CLASSES = (20, 80, 171)
IMAGE = np.random.default_rng(0).integers(0, 256, (375, 500, 3), dtype=np.uint8)


class Anew(SAM3):
    """Encodes the picture again whenever something is looked for in it."""

    def see(self, pixels: Tensor) -> Any:
        """Nothing yet."""
        return pixels

    def find(self, picture: Any, prompts: Phrases) -> ConceptMasks:
        """As a forward pass of pixels and words."""
        return super().find(super().see(picture), prompts)


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--classes", type=int, nargs="+", default=CLASSES)
    parser.add_argument("--repeats", type=int, default=1)
    asked = parser.parse_args()
    show(rows(asked.classes, asked.repeats))


def rows(classes: Sequence[int] = CLASSES, repeats: int = 1) -> Iterator[Row]:
    """Seconds an image: against a picture for every class, and pruned against all classes."""
    for count in classes:
        vocabulary = Vocabulary.of(*(f"thing {i}" for i in range(count)))
        once = method(SAM3, vocabulary)
        anew = method(Anew, vocabulary)
        pruned = method(SAM3, vocabulary, most_active=40, preview_side=224)
        if count == min(classes):
            compare(once, anew)
        spent = in_turn(
            {
                "once": lambda own=once: own.segment([IMAGE]),  # type: ignore[misc]
                "anew": lambda own=anew: own.segment([IMAGE]),  # type: ignore[misc]
                "pruned": lambda own=pruned: own.segment([IMAGE]),  # type: ignore[misc]
            },
            repeats,
            clock=time.process_time,
        )
        what = f"{count} classes"
        yield Row.of(f"{what}, one picture", "a picture a class", "s", spent["once"], spent["anew"])
        if count > 40:
            name = f"{what}, a fifth behind a preview"
            yield Row.of(name, "all classes", "s", spent["pruned"], spent["once"])


def compare(ours: Sam3Method, theirs: Sam3Method) -> None:
    """End the program where labels differ by more than rounding may make them."""
    same = float(np.mean(ours.segment([IMAGE])[0] == theirs.segment([IMAGE])[0]))
    if same < 0.999:
        raise SystemExit(f"only {same:.3%} of the pixels have the label they have one by one")


def method(network: type[SAM3], vocabulary: Vocabulary, **settings: Any) -> Sam3Method:
    """SAM 3 by its default rule, prepared."""
    with patch.object(adapter, "load_sam3", lambda *_: network(small(), (), Runtime())):
        made = Sam3Method(Sam3Settings(**settings), Runtime())
    made.prepare(vocabulary)
    return made


def small() -> Any:
    """The same random weights every time."""
    from transformers import Sam3Config, Sam3Model

    wide = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 256}
    backbone = {
        "model_type": "sam3_vit_model", "hidden_size": 192, "intermediate_size": 768,
        "num_hidden_layers": 6, "num_attention_heads": 3, "image_size": 336, "window_size": 8,
        "global_attn_indexes": [2, 5], "pretrain_image_size": 112,
    }  # fmt: skip
    text = {
        "model_type": "clip_text_model", "projection_dim": 64, "num_hidden_layers": 2,
        "max_position_embeddings": 32, "hidden_act": "gelu", "vocab_size": 49408, **wide,
    }  # fmt: skip
    config = Sam3Config(
        vision_config={"backbone_config": backbone, "fpn_hidden_size": 64},
        text_config=text,
        geometry_encoder_config={**wide, "num_layers": 1},
        detr_encoder_config={**wide, "num_layers": 2},
        detr_decoder_config={**wide, "num_layers": 2, "num_queries": 50},
        mask_decoder_config={"hidden_size": 64, "num_attention_heads": 4},
    )
    torch.manual_seed(0)
    model = Sam3Model(config)
    for weight in model.parameters():  # so large that classes differ
        if weight.ndim > 1:
            weight.data.normal_(std=0.1)
    return model


if __name__ == "__main__":
    main()
