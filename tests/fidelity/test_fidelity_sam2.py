"""SAM 2 against the masks of its authors' predictor and mask generator on random weights."""

from __future__ import annotations

import re
import zlib
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from oracles import header, require_close, vectors
from tiny_sam2 import sam2_model
from torch import Tensor

from ovbench.harness.contract.runtime import Runtime
from ovbench.models.sam.promptable import EncodedImage
from ovbench.models.sam.proposals import ProposalSettings, propose
from ovbench.models.sam.sam2 import Sam2

POINTS = {"points": [(31, 12), (80, 50), (5, 66)], "labels": [1, 1, 0]}
PROMPTS: dict[str, dict[str, Any]] = {
    "point": {"points": [(31, 12)], "labels": [1]},
    "points": POINTS,
    "box": {"box": (10, 20, 60, 55)},
    "mask": {},
    "point_mask": {"points": [(31, 12)], "labels": [1]},
    "all": {**POINTS, "box": (10, 20, 60, 55)},
}
WITH_MASK = ("mask", "point_mask", "all")


def weight(name: str, shape: tuple[int, ...]) -> Tensor:
    """What a parameter was in the authors' network, by transformers' name of it."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    drawn = rng.normal(0, 0.3, shape).astype(np.float32)
    scales = "norm" in name and name.endswith("weight")
    return torch.from_numpy(np.asarray(1 + drawn if scales else drawn, np.float32))


@cache
def encoded() -> tuple[Sam2, EncodedImage]:
    # Sizes that are fixed in the authors' network.
    model = sam2_model({"mlp_dim": 2048, "num_attention_heads": 8, "iou_head_hidden_dim": 256})
    state = {name: weight(name, tuple(v.shape)) for name, v in model.state_dict().items()}
    shared = "positional_embedding"
    state[f"prompt_encoder.shared_embedding.{shared}"] = state[f"shared_image_embedding.{shared}"]
    model.load_state_dict(state)
    sam = Sam2(model, (), Runtime())
    return sam, sam.encode(vectors("sam2")["image"].numpy().astype(np.uint8))


def masks_of(name: str) -> np.ndarray:
    """``(n, 70, 100)``."""
    packed = vectors("sam2")[f"{name}.masks"].numpy()
    return np.unpackbits(packed, axis=1, count=7000).reshape(-1, 70, 100).astype(bool)


@pytest.mark.parametrize("number", ["one", "three"])
@pytest.mark.parametrize("kind", PROMPTS)
def test_prompts_are_answered_as_by_the_predictor(kind: str, number: str) -> None:
    sam, image = encoded()
    prompt = dict(PROMPTS[kind])
    if kind in WITH_MASK:
        prompt["mask_input"] = vectors("sam2")["mask_input"].numpy()
    found = sam.predict(image, **prompt, multimask=number == "three")
    expected = masks_of(f"{kind}.{number}")
    assert 0 < expected.mean() < 1
    assert (found.masks == expected).mean() >= 0.9995
    for part in ("iou", "low_res"):
        ours = torch.from_numpy(getattr(found, part))
        require_close(ours, vectors("sam2")[f"{kind}.{number}.{part}"], 2e-5)


@pytest.mark.parametrize("number", ["one", "three"])
def test_a_grid_is_answered_as_by_the_generator(number: str) -> None:
    sam, image = encoded()
    settings = ProposalSettings(4, 64, 0.2, 0.2, 1.0, 1.0)
    found = propose(sam, image, settings, multimask=number == "three")
    expected = vectors("sam2")
    assert len(found) == len(expected[f"grid.{number}.iou"]) >= 10
    assert (found.masks == masks_of(f"grid.{number}")).mean() >= 0.9995
    require_close(torch.from_numpy(found.predicted_iou), expected[f"grid.{number}.iou"], 2e-5)
    require_close(torch.from_numpy(found.stability), expected[f"grid.{number}.stability"], 1e-2)
    require_close(torch.from_numpy(found.points).float(), expected[f"grid.{number}.points"])


def test_the_file_says_whose_it_is() -> None:
    said = header("sam2")
    assert re.match(r"facebookresearch/sam2 [0-9a-f]{10}$", said["repo"])
    assert "SAM2ImagePredictor.predict" in said["function"]
