"""GroupViT against its released function, and its scores against a plain restatement."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from naming_rule import require_groups, require_scores_and_labels, scores_of_groups
from oracles import vectors
from torch import Tensor, nn
from torch.nn import functional
from transformers import GroupViTConfig, GroupViTModel

from ovbench.adapters.grouping import groupvit as adapter
from ovbench.adapters.grouping.groupvit import GroupViTMethod, GroupViTSettings
from ovbench.adapters.grouping.naming import group_scores, unsure_groups
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.grouping.authors import stock_names
from ovbench.models.grouping.groupvit import GroupViT

VISION = {
    "hidden_size": 48,
    "intermediate_size": 192,
    "depths": [2, 1, 1],
    "num_hidden_layers": 4,
    "num_group_tokens": [8, 6, 0],
    "num_output_groups": [8, 6, 6],
    "num_attention_heads": 4,
    "image_size": 64,
}
TEXT = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2}  # fmt: skip


def released() -> GroupViT:
    """The image tower of the numbers; its projector is a plain matrix."""
    given = vectors("groupvit_inputs")
    model = GroupViTModel(GroupViTConfig(text_config=TEXT, vision_config=VISION, projection_dim=16))
    model.visual_projection = nn.Identity()
    found = model.load_state_dict(stock_names(vectors("groupvit_weights")), strict=False)
    assert not found.unexpected_keys
    assert {name.partition(".")[0] for name in found.missing_keys} == {
        "text_model", "text_projection", "logit_scale",
    }  # fmt: skip
    projector = nn.Linear(48, 16, bias=False)
    projector.weight.data = given["projector"].T.contiguous()
    model.visual_projection = projector
    model.logit_scale.data = given["logit_scale"]
    record = CheckpointRecord("groupvit", "random weights", None, None)
    return GroupViT(model, (record,), Runtime())


@pytest.fixture
def method(monkeypatch: pytest.MonkeyPatch) -> GroupViTMethod:
    monkeypatch.setattr(adapter, "load_groupvit", lambda *_: released())
    made = GroupViTMethod(GroupViTSettings(), Runtime())
    made.text = vectors("groupvit_inputs")["text"]
    return made


@pytest.mark.parametrize("shape", ["square", "wide"])
@torch.inference_mode()
def test_groups(shape: str) -> None:
    found = released().groups(vectors("groupvit_inputs")[f"{shape}.pixels"])
    first, second = (vectors("groupvit")[f"{shape}.assignment{i}"] for i in (1, 2))
    require_groups(found, "groupvit", shape, second @ first)


@pytest.mark.parametrize("threshold", [None, 0.35, 0.95])
@pytest.mark.parametrize("shape", ["square", "wide"])
@torch.inference_mode()
def test_scores_and_labels(shape: str, threshold: float | None, method: GroupViTMethod) -> None:
    method.settings = GroupViTSettings(background_threshold=threshold or 0.5)
    require_scores_and_labels(method, "groupvit", shape, threshold)


@pytest.mark.parametrize("classes", [3, 5, 12])
@pytest.mark.parametrize("threshold", [0.05, 0.35, 0.95])
def test_scores_of_groups_against_a_plain_restatement(classes: int, threshold: float) -> None:
    generator = torch.Generator().manual_seed(classes)

    def unit(*shape: int) -> Tensor:
        return functional.normalize(torch.randn(*shape, generator=generator), dim=-1)

    groups, image, text = unit(2, 4, 6), unit(2, 6), unit(classes, 6)
    table = group_scores(groups, image, text, 6.0, 5)
    unsure = unsure_groups(table, threshold)
    for window in range(2):
        expected = torch.tensor(
            scores_of_groups(groups[window], image[window], text, 6.0, 5, threshold)
        )
        torch.testing.assert_close(table[window], expected[:, 1:], rtol=1e-4, atol=1e-7)
        assert torch.equal(unsure[window].float(), expected[:, 0])
        assert (table[window] > 0).any(dim=0).sum() <= 5


def test_background_is_settled_before_windows_are_averaged(method: GroupViTMethod) -> None:
    """Half of the windows over a place call it background, so background has half a score."""
    vocabulary = Vocabulary.of("cat", "dog", background=True)
    method._vocabulary, method._labels = vocabulary, np.array([1, 2])
    method.text = torch.eye(2, 16)
    method.settings = GroupViTSettings(
        short_side=64, window=64, window_stride=32, background_threshold=0.95
    )
    # The first window is sure of a cat, the second of nothing but one pixel at its right end.
    sure, unsure = torch.zeros(16), torch.zeros(16)
    sure[0], unsure[1] = 1.0, 1e-3
    groups = torch.stack([torch.stack([sure, sure]), torch.stack([unsure, sure])])
    places = torch.zeros(2, 64, 64, dtype=torch.long)
    places[1, :, -1] = 1
    picture = np.zeros((64, 96, 3), np.uint8)
    pixels = method._input(picture)
    windows = method._windows(pixels)
    found = (groups, torch.stack([sure, sure]), places)
    labels = method._answer(found, windows.cut(pixels), windows, picture, None)
    scale = method._model.logit_scale
    cat = float(torch.tensor([scale, 0.0]).softmax(0)[0]) ** 2
    assert cat > 0.95
    # Left: a cat. In the middle (cat + something) / 2 against background's 1 / 2.
    both = (cat + float(torch.tensor([0.0, scale * 1e-3]).softmax(0)[0]) ** 2) / 2
    assert set(np.unique(labels[:, :32])) == {1}
    assert set(np.unique(labels[:, 32:64])) == {1 if both > 0.5 else 0}
    assert set(np.unique(labels[:, 64:95])) == {0}
    assert set(np.unique(labels[:, 95])) == {1}
