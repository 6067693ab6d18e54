"""What the dense-CLIP family shares: sizes, windows, candidates and bad settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ovbench.adapters.dense_clip.cass import CASS
from ovbench.adapters.dense_clip.clearclip import ClearCLIP
from ovbench.adapters.dense_clip.cliptrase import CLIPtrase
from ovbench.adapters.dense_clip.gem import GEM
from ovbench.adapters.dense_clip.naclip import NACLIP
from ovbench.adapters.dense_clip.proxyclip import ProxyCLIP
from ovbench.adapters.dense_clip.resclip import ResCLIP
from ovbench.adapters.dense_clip.scclip import SCCLIP
from ovbench.adapters.dense_clip.sclip import SCLIP
from ovbench.adapters.dense_clip.sfp import SFP
from ovbench.adapters.parts import dense_clip
from ovbench.adapters.parts.affinity import gaussian_neighbourhood
from ovbench.adapters.parts.dense_clip import DenseCLIP
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import override
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Vocabulary
from ovbench.models.clip.model import load_clip

VOCABULARY = Vocabulary(
    (ClassQuery("disk", ("circle",)), ClassQuery("star"), ClassQuery("cross")),
    Background(("background", "grass")),
)


def built(method: type[DenseCLIP] = SCLIP, **settings: Any) -> DenseCLIP:
    made = method(override(method.Settings, settings), Runtime(checkpoints="toy"))
    made.prepare(VOCABULARY)
    return made


def picture(height: int, width: int) -> Image:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("method", "expected"), [(SCLIP, (144, 96, 48)), (ClearCLIP, (192, 192, 96))]
)
def test_sizes_follow_the_training_size(method: type[DenseCLIP], expected: tuple[int, ...]) -> None:
    """The miniature was trained on 96 pixels."""
    settings = built(method).settings
    assert (settings.short_side, settings.window, settings.window_stride) == expected
    named = built(method, short_side=100, window=0, window_stride=7).settings
    assert (named.short_side, named.window, named.window_stride) == (100, 0, 7)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"window": 4}, "sees nothing below 8 pixels"),
        ({"window": 48, "window_stride": 49}, "window_stride=49: .* at most 48"),
        ({"window": 8}, r"window_stride=48 \(the default\): .* set window_stride to at most 8"),
        ({"short_side": 0}, "short_side must be positive"),
        ({"window": -1}, "must not be negative"),
        ({"pamr_iterations": 1, "pamr_dilations": ""}, "needs pamr_dilations"),
        ({"pamr_iterations": 1, "pamr_dilations": "8,0"}, "pamr_dilations must be positive"),
        ({"logit_scale": -40}, "logit_scale and pamr_dilations must be positive"),
        ({"background_threshold": 50}, "background_threshold must lie between 0 and 1"),
        ({"area_share": -0.1}, "area_share must lie between 0 and 1"),
    ],
)
def test_what_would_see_or_answer_nothing_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        built(**settings)


def test_a_tower_without_blocks_is_refused_before_any_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another tower, such as a ResNet, that only the first picture would meet."""
    clip = load_clip("ViT-B-16", "openai", Runtime(checkpoints="toy"))
    assert clip.stride == 8  # read before it becomes another, as a ResNet's could be
    monkeypatch.setattr(clip._model, "visual", torch.nn.Identity())
    monkeypatch.setattr(dense_clip, "load_clip", lambda *_: clip)
    with pytest.raises(UsageError, match="only plain vision transformers"):
        built()


@pytest.mark.parametrize(
    ("method", "name", "value", "bound"),
    [
        (SCCLIP, "least_cosine", 2, "at most 1"),
        (SCCLIP, "sharpness", -5, "at least 0"),
        (SFP, "class_share", 1.5, "at most 1"),
        (SFP, "class_factor", -1, "at least 0"),
        (ProxyCLIP, "beta", 1e38, "at most 1000"),
        (ProxyCLIP, "gamma", 1e38, "at most 1000"),
        (ResCLIP, "rcs_scale", -1, "at least 0"),
        (ResCLIP, "sfr_scale", 1e38, "at most 1000"),
        (CASS, "graph_weight", -1, "at least 0"),
        (CASS, "cluster_below", -0.1, "at least 0"),
        (CLIPtrase, "eps", 1e38, "at most 1000"),
        (SCLIP, "logit_scale", 1e38, "at most 1000"),
        (ClearCLIP, "logit_scale", 1e38, "at most 1000"),
    ],
)
def test_factors_and_shares_have_bounds(
    method: type[DenseCLIP], name: str, value: float, bound: str
) -> None:
    with pytest.raises(UsageError, match=f"setting {name}=.*: {bound}$"):
        override(method.Settings, {name: value})


def test_a_miniature_stands_for_no_dino_that_there_is_not() -> None:
    with pytest.raises(UsageError, match="no dino checkpoint 'nosuch'"):
        built(CASS, dino="nosuch")


@pytest.mark.parametrize("method", [ClearCLIP, GEM])
@pytest.mark.parametrize("blocks", [0, 4])
def test_blocks_that_are_not_there(method: type[DenseCLIP], blocks: int) -> None:
    with pytest.raises(UsageError, match="last_blocks"):
        built(method, last_blocks=blocks)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (SCLIP, {}),
        (SCLIP, {"window": 0}),
        (SCLIP, {"pamr_iterations": 1}),
        (GEM, {"resizing": "squashed", "window": 0, "min_max": True}),
        (CLIPtrase, {}),
        (CASS, {}),
    ],
)
def test_pictures_of_any_size_together_are_as_alone(
    method: type[DenseCLIP], settings: dict[str, Any]
) -> None:
    one = built(method, **settings)
    images = [picture(*size) for size in ((40, 70), (96, 96), (3, 300), (70, 40), (1, 1), (96, 96))]
    together = one.segment(images)
    for image, found in zip(images, together, strict=True):
        assert found.shape == image.shape[:2]
        (alone,) = one.segment([image])
        assert (alone == found).mean() > 0.99


def test_several_windows_go_through_the_tower_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    method, seen = built(), []
    features = method.features
    monkeypatch.setattr(method, "features", lambda w: (seen.append(tuple(w.shape)), features(w))[1])
    method.segment([picture(60, 90), picture(90, 60)])  # eight windows each
    assert seen == [(16, 3, 96, 96)]
    seen.clear()
    monkeypatch.setattr(dense_clip, "WINDOWS_AT_A_TIME", 5)
    method.segment([picture(60, 90), picture(90, 60)])
    assert [shape[0] for shape in seen] == [5, 5, 5, 1]


def test_only_candidates_answer() -> None:
    method = built()
    image = picture(60, 60)
    assert set(np.unique(method.segment([image], [{2}])[0])) <= {0, 2}


def test_thresholds_are_nothing_without_a_background() -> None:
    """Label 0 is then a class, and nobody else's pixels fall to it."""
    classes = Vocabulary.of("disk", "star", "cross")
    answers = []
    for settings in ({}, {"background_threshold": 0.999, "area_share": 0.9}):
        method = built(**settings)
        method.prepare(classes)
        answers.append(method.segment([picture(60, 60)])[0])
    np.testing.assert_array_equal(*answers)


def test_a_threshold_sends_pixels_to_the_background() -> None:
    (found,) = built(background_threshold=0.9999).segment([picture(60, 60)])
    assert (found == 0).mean() > 0.5


def test_neighbours_against_a_loop() -> None:
    found = gaussian_neighbourhood((3, 4), 2.0)
    places = [(r, c) for r in range(3) for c in range(4)]
    for i, (a, b) in enumerate(places):
        for j, (c, d) in enumerate(places):
            expected = np.exp(-((a - c) ** 2 + (b - d) ** 2) / 8)
            assert float(found[i, j]) == pytest.approx(expected, rel=1e-6)


def test_naclip_with_a_wide_gaussian_looks_at_keys_alone() -> None:
    """A Gaussian without an end adds the same to all patches, and nothing to the class token."""
    method = built(NACLIP, sigma=1e4 / 3)
    windows = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    trunk = method.clip.trunk(windows, positions="dino")
    key, value = trunk.heads().key, trunk.heads().value
    scores = key @ key.mT * key.shape[-1] ** -0.5
    scores[..., 1:, 1:] += 1
    expected = trunk.joint(trunk.mixed(scores.softmax(dim=-1) @ value))[:, 1:]
    found = method.features(windows).flatten(2).mT
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
