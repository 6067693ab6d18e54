"""Small students of MaskCLIP+, and their weights by the authors' names."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ovbench.models.pixelwise import student
from ovbench.models.pixelwise.student import Sizes, StudentNetwork

JOINT = 32


def be_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let depths and widths be small."""
    monkeypatch.setattr(student, "STEM", 4)
    monkeypatch.setattr(student, "RESNET_50", (1, 1, 2, 2))
    monkeypatch.setattr(student, "RESNET_101", (1, 1, 3, 2))


def tiny_student(depth: int = 101) -> StudentNetwork:
    """Random weights; batches that normalise it were seen."""
    blocks = student.RESNET_101 if depth == 101 else student.RESNET_50
    network = StudentNetwork(Sizes(blocks, JOINT))
    for name, weight in network.state_dict().items():
        if name.endswith("running_mean"):
            nn.init.normal_(weight, std=0.1)
        if name.endswith("running_var"):
            nn.init.uniform_(weight, 0.5, 1.5)
    return network.eval()


def by_the_authors(own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights by the names of the released code, with what it keeps beside the student."""
    found = {
        "decode_head._iter_counter": torch.tensor(8000),
        "decode_head.text_embeddings": torch.zeros(171, JOINT),
        "decode_head.clip.patch_embed.projection.weight": torch.zeros(1),
        "decode_head.proj.weight": torch.zeros(JOINT, 8, 1, 1),
    }
    for name, weight in own.items():
        if name.startswith("head."):
            _, branch, kind = name.split(".", 2)
            found[f"decode_head.decode_module.aspp_modules.{branch}.{kind}"] = weight
        else:
            found[f"backbone.{name}"] = weight
    return found
