"""A SegCLIP of the published shape, twelve blocks, that is 32 channels wide."""

from __future__ import annotations

import open_clip
import torch

from ovbench.models.grouping.segclip import SegCLIPNetwork


def tiny_segclip() -> SegCLIPNetwork:
    torch.manual_seed(0)
    clip = open_clip.CLIP(
        embed_dim=16,
        vision_cfg={
            "width": 32, "head_width": 16, "layers": 12, "patch_size": 8, "image_size": 32,
        },
        text_cfg={"width": 32, "heads": 2, "layers": 1, "context_length": 16},
        quick_gelu=True,
    )  # fmt: skip
    clip.visual.preprocess_cfg = {"mean": (0.4,) * 3, "std": (0.3,) * 3}
    network = SegCLIPNetwork(clip)
    for weight in network.gathering.parameters():  # norms begin at 1, and centres all alike
        torch.nn.init.normal_(weight, std=0.3)
    return network
