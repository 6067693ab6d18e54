"""What methods share that decide window by window, on GroupViT with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import GroupViTConfig, GroupViTModel

from ovbench.adapters.grouping.groupvit import GroupViTMethod
from ovbench.adapters.parts.sliding import Sliding, SlidingSettings
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import Precision, Runtime
from ovbench.harness.contract.settings import override
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Vocabulary
from ovbench.harness.registry.methods import load_method
from ovbench.harness.run.conformance import conformance_checks
from ovbench.models.grouping import groupvit
from ovbench.models.pixels.inputs import IMAGENET_MEAN, IMAGENET_STD

SMALL = {"weights": "random", "short_side": 48, "window": 48, "window_stride": 24,
         "max_long_side": 160}  # fmt: skip
VOCABULARY = Vocabulary(
    (ClassQuery("cat", ("kitten",)), ClassQuery("dog"), ClassQuery("bird")),
    Background(("background", "grass")),
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    vision = {
        "hidden_size": 24, "intermediate_size": 48, "depths": [1, 1], "num_hidden_layers": 2,
        "num_group_tokens": [8, 0], "num_output_groups": [8, 8], "num_attention_heads": 2,
        "image_size": 32, "patch_size": 8,
    }  # fmt: skip
    text = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
            "num_attention_heads": 2}  # fmt: skip
    config = GroupViTConfig(
        text_config=text, vision_config=vision, projection_dim=12, projection_intermediate_dim=20
    )

    def stock() -> Any:
        model = GroupViTModel(config)
        torch.nn.init.normal_(model.vision_model.encoder.stages[0].group_token)
        return model

    monkeypatch.setattr(groupvit, "_stock", stock)


def built(vocabulary: Vocabulary = VOCABULARY, **settings: Any) -> GroupViTMethod:
    made = GroupViTMethod(override(GroupViTMethod.Settings, {**SMALL, **settings}), Runtime())
    made.prepare(vocabulary)
    return made


def picture(height: int, width: int) -> Image:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_contract() -> None:
    vocabularies = (
        Vocabulary.of("cat", "dog", "bird", "sheep", background=True),
        Vocabulary.of("sea", "sky"),
    )
    images = [picture(48, 64), picture(40, 40), picture(30, 70)]
    outcomes = conformance_checks(
        lambda: load_method("groupvit", settings=SMALL, device="cpu", checkpoints="real"),
        vocabularies,
        images,
    )
    assert [(o.name, o.finding) for o in outcomes if not o.passed] == []


@pytest.mark.parametrize("name", ["groupvit", "tcl"])
def test_contract_with_miniatures(name: str) -> None:
    sizes = {"short_side": 48, "window": 48, "window_stride": 24}
    outcomes = conformance_checks(
        lambda: load_method(name, settings=sizes, device="cpu", checkpoints="toy"),
        (Vocabulary.of("star", "ring", "heart", background=True), Vocabulary.of("sand", "sky")),
        [picture(48, 64), picture(30, 70)],
    )
    assert [(o.name, o.finding) for o in outcomes if not o.passed] == []


def test_sizes_that_are_not_named_come_from_the_training_size() -> None:
    pixels = {"short_side": None, "window": None, "window_stride": None}
    settings = built(**pixels).settings
    assert (settings.short_side, settings.window, settings.window_stride) == (64, 64, 32)
    settings = built(**{**pixels, "short_side": 50, "window": 0}).settings
    assert (settings.short_side, settings.window, settings.window_stride) == (50, 0, 32)
    with pytest.raises(UsageError, match=r"at least window_stride.* pictures of 32 pixels$"):
        built(**{**pixels, "window": 31})


@pytest.mark.parametrize("settings", [{}, {"window": 0}, {"classes_at_a_time": 0}])
def test_pictures_of_any_size_together_are_as_alone(settings: dict[str, Any]) -> None:
    method = built(**settings)
    images = [picture(*size) for size in ((40, 70), (96, 96), (3, 300), (70, 40), (1, 1), (96, 96))]
    together = method.segment(images)
    for image, found in zip(images, together, strict=True):
        assert found.shape == image.shape[:2]
        (alone,) = method.segment([image])
        assert (alone == found).mean() > 0.99


def test_windows_of_several_pictures_go_in_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    method, seen = built(), []
    read = method.read
    monkeypatch.setattr(method, "read", lambda w: (seen.append(tuple(w.shape)), read(w))[1])
    method.segment([picture(60, 90), picture(90, 60)])  # two windows each
    assert seen == [(4, 3, 48, 48)]
    seen.clear()
    monkeypatch.setattr(GroupViTMethod, "at_a_time", 3)
    method.segment([picture(60, 90), picture(90, 60)])
    assert [shape[0] for shape in seen] == [3, 1]


def test_half_precision() -> None:
    image, answers = picture(60, 90), []
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    for precision in precisions:
        method = GroupViTMethod(
            override(GroupViTMethod.Settings, SMALL), Runtime(precision=precision)
        )
        method.prepare(VOCABULARY)
        answers.append(method.segment([image])[0])
    assert (answers[0] == answers[1]).mean() > 0.5


def test_background_has_no_text_and_is_always_allowed() -> None:
    method = built(background_threshold=1.0)
    assert method.text.shape[0] == 4
    image = picture(60, 60)
    assert set(np.unique(method.segment([image], [{2}])[0])) <= {0, 2}
    assert not method.segment([image], [set()])[0].any()


def test_classes_alone_have_no_threshold() -> None:
    classes = Vocabulary.of("cat", "dog", "bird")
    answers = [
        built(classes, background_threshold=t).segment([picture(60, 90)])[0] for t in (0.0, 1.0)
    ]
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"short_side": 0}, "short_side must be positive"),
        ({"window_stride": 49}, "at least window_stride"),
        ({"classes_at_a_time": -1}, "must not be negative"),
    ],
)
def test_bad_settings(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        built(**settings)


class Redness(Sliding):
    """A network that sees how red a pixel is; the other class is always half red."""

    device, patch = torch.device("cpu"), 4

    def __init__(self, settings: SlidingSettings) -> None:
        self.settings = settings

    def embed(self, texts: Sequence[str]) -> Tensor:
        return torch.eye(len(texts))

    def read(self, windows: Tensor) -> tuple[Tensor, ...]:
        return (windows[:, 0] * IMAGENET_STD[0] + IMAGENET_MEAN[0],)

    def scores(
        self, found: tuple[Tensor, ...], windows: Tensor, queries: Tensor, background: bool
    ) -> tuple[Tensor, Tensor]:
        (red,) = found
        return torch.stack([red, torch.full_like(red, 0.5)], dim=1), queries


@pytest.mark.parametrize("size", [(40, 200), (60, 60), (90, 31)])
@pytest.mark.parametrize("window", [0, 32, 48])
def test_what_a_window_sees_comes_back_where_it_was(size: tuple[int, int], window: int) -> None:
    """Pixels grow red from left to right, and are half red in the middle."""
    height, width = size
    method = Redness(SlidingSettings(48, 160, window, 20))
    method.prepare(Vocabulary.of("red", "half"))
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(0, 255, width)
    (found,) = method.segment([image])
    red = (found == 0).mean(axis=0)
    middle, slack = width / 2, 2 * width / 48 + 1  # pixels of the input are whole numbers
    columns = np.arange(width)
    assert (red[columns > middle + slack] == 1).all()
    assert (red[columns < middle - slack] == 0).all()
