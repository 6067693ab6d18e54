"""OVSegmentor against its released function, and pixels against the rule written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from naming_rule import (
    require_groups,
    require_scores_and_labels,
    score_of_pixel,
    whole_map,
)
from oracles import vectors
from torch import nn

from ovbench.adapters.grouping import ovsegmentor as adapter
from ovbench.adapters.grouping.ovsegmentor import OVSegmentorMethod, OVSegmentorSettings
from ovbench.harness.contract.runtime import Runtime
from ovbench.models.grouping.ovsegmentor import OVSegmentor, OVSegmentorNetwork, own_names
from ovbench.models.towers.words import arbitrary_words

VISION = {
    "hidden_size": 48,
    "intermediate_size": 192,
    "depths": [2, 2],
    "num_hidden_layers": 4,
    "num_group_tokens": [6, 0],
    "num_output_groups": [4, 4],
    "num_attention_heads": 4,
    "image_size": 64,
}
TEXT = {"vocab_size": 8, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2}  # fmt: skip


def released() -> OVSegmentor:
    """The image tower of the numbers; its projector is a plain matrix."""
    given = vectors("ovsegmentor_inputs")
    network = OVSegmentorNetwork(VISION, TEXT)
    network.visual_projection = nn.Identity()
    found = network.load_state_dict(own_names(vectors("ovsegmentor_weights")), strict=False)
    assert not found.unexpected_keys
    assert {name.partition(".")[0] for name in found.missing_keys} == {
        "text_model", "text_projection", "logit_scale",
    }  # fmt: skip
    projector = nn.Linear(48, 16, bias=False)
    projector.weight.data = given["projector"].T.contiguous()
    network.visual_projection = projector
    network.logit_scale.data = given["logit_scale"]
    return OVSegmentor(network, arbitrary_words(8), (), Runtime())


@pytest.fixture
def method(monkeypatch: pytest.MonkeyPatch) -> OVSegmentorMethod:
    monkeypatch.setattr(adapter, "load_ovsegmentor", lambda *_: released())
    made = OVSegmentorMethod(OVSegmentorSettings(), Runtime())
    made.text = vectors("ovsegmentor_inputs")["text"]
    return made


@pytest.mark.parametrize("shape", ["square", "wide"])
@torch.inference_mode()
def test_groups(shape: str) -> None:
    found = released().groups(vectors("ovsegmentor_inputs")[f"{shape}.pixels"])
    shares = vectors("ovsegmentor")[f"{shape}.assignment1"]
    require_groups(found, "ovsegmentor", shape, shares)


@pytest.mark.parametrize("threshold", [None, 0.35, 0.95])
@pytest.mark.parametrize("shape", ["square", "wide"])
@torch.inference_mode()
def test_scores_and_labels(shape: str, threshold: float | None, method: OVSegmentorMethod) -> None:
    method.settings = OVSegmentorSettings(background_threshold=threshold or 0.5)
    require_scores_and_labels(method, "ovsegmentor", shape, threshold)


@pytest.mark.parametrize("threshold", [0.2, 0.95])
@torch.inference_mode()
def test_pixels_against_a_plain_restatement(threshold: float, method: OVSegmentorMethod) -> None:
    method.settings = OVSegmentorSettings(background_threshold=threshold)
    pixels = vectors("ovsegmentor_inputs")["wide.pixels"]
    groups, scale = method._model.groups(pixels), method._model.logit_scale
    whole = whole_map(method, pixels, 9, True)
    for row in range(3, 128, 20):
        for column in range(1, 192, 20):
            expected = score_of_pixel(groups, method.text, scale, threshold, 16, (row, column))
            np.testing.assert_allclose(whole[:, row, column], expected, rtol=1e-3, atol=1e-6)
