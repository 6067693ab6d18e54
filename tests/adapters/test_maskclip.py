"""MaskCLIP's steps against independent computation, and the method as a whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.nn import functional

from ovbench.adapters.maskclip import (
    MaskCLIP,
    MaskCLIPSettings,
    confident_queries,
    smooth_by_keys,
)
from ovbench.adapters.parts.templates import templates
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import describe, override
from ovbench.harness.contract.stages import measure
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Vocabulary

ANIMALS = Vocabulary.of("cat", "dog", "bird", background=True)
PLACES = Vocabulary.of("sea", "sky", "sand")


def build(architecture: str, vocabulary: Vocabulary = ANIMALS, **settings: Any) -> MaskCLIP:
    values = {"architecture": architecture, "pretrained": "random", "prompts": "single"}
    method = MaskCLIP(override(MaskCLIPSettings, {**values, **settings}), Runtime())
    method.prepare(vocabulary)
    return method


def images(*sizes: tuple[int, int]) -> list[Image]:
    rng = np.random.default_rng(0)
    # Large patches of colour, so that a label covers more than a few pixels.
    return [
        np.kron(rng.integers(0, 256, (4, 5, 3)), np.ones((9, 9, 1)))[:h, :w].astype(np.uint8)
        for h, w in sizes
    ]


def used(answer: npt.NDArray[Any]) -> set[int]:
    return {int(value) for value in np.unique(answer)}


def test_answers_are_the_largest_cosine(tiny_architecture: str) -> None:
    vocabulary = Vocabulary(
        (ClassQuery("cat", ("kitten",)), ClassQuery("dog")), Background(("wall", "floor"))
    )
    method = build(tiny_architecture, vocabulary, short_side=32)
    clip = method._clip
    image = images((32, 40))[0]
    mean, std = (torch.tensor(v)[:, None, None] for v in (clip.mean, clip.std))
    pixels = (torch.tensor(image).permute(2, 0, 1) / 255 - mean) / std
    dense = clip.dense_features(pixels[None], residual=False).values[0]
    queries = ["wall", "floor", "cat", "kitten", "dog"]
    text = clip.encode_text([f"a photo of a {query}." for query in queries])
    cosine = functional.cosine_similarity(text[:, :, None, None], dense[None], dim=1)
    full = functional.interpolate(cosine[None], (32, 40), mode="bilinear")[0]
    expected = torch.tensor([0, 0, 1, 1, 2])[full.argmax(dim=0)]
    (answer,) = method.segment([image])
    assert answer.dtype == np.uint8
    assert (answer == expected.numpy()).mean() > 0.999
    assert len(used(answer)) > 1


@pytest.mark.parametrize("settings", [{}, {"window": 64, "window_stride": 32}])
def test_answers_do_not_depend_on_the_batch(
    tiny_architecture: str, settings: dict[str, Any]
) -> None:
    method = build(tiny_architecture, **settings)
    batch = images((36, 45), (20, 45), (36, 45), (36, 30))
    together = method.segment(batch)
    for image, answer in zip(batch, together, strict=True):
        assert answer.shape == image.shape[:2]
        assert (method.segment([image])[0] == answer).mean() > 0.999


@pytest.mark.parametrize("size", [(1, 1), (8, 2000), (2000, 8)])
@pytest.mark.parametrize("window", [0, 32])
def test_odd_sizes(tiny_architecture: str, size: tuple[int, int], window: int) -> None:
    method = build(tiny_architecture, window=window, window_stride=window, max_long_side=512)
    (answer,) = method.segment([np.full((*size, 3), 128, dtype=np.uint8)])
    assert answer.shape == size


def test_stays_within_candidates(tiny_architecture: str) -> None:
    batch = images((36, 45), (36, 45), (20, 45))
    method = build(tiny_architecture)
    maps = method.segment(batch, [(2,), (1, 3), ()])
    assert used(maps[0]) <= {0, 2}
    assert used(maps[1]) <= {0, 1, 3}
    assert used(maps[2]) == {0}
    method.prepare(PLACES)
    maps = method.segment(batch, [(2,), (0,), (1,)])
    assert [used(answer) for answer in maps] == [{2}, {0}, {1}]


def test_candidates_are_a_smaller_vocabulary(tiny_architecture: str) -> None:
    settings = {"background": "threshold", "logit_scale": 300.0, "prompt_denoising": 0.4}
    batch = images((36, 45))
    chosen = build(tiny_architecture, **settings).segment(batch, [(1, 3)])[0]
    smaller = Vocabulary.of("cat", "bird", background=True)
    alone = build(tiny_architecture, smaller, **settings).segment(batch)[0]
    np.testing.assert_array_equal(chosen, np.array([0, 1, 3])[alone])


@pytest.mark.parametrize("background", ["queries", "threshold", "both"])
def test_background_rules(tiny_architecture: str, background: str) -> None:
    batch = images((36, 45))
    low, high = (
        build(tiny_architecture, background=background, background_threshold=t).segment(batch)[0]
        for t in (0.0, 1.0)
    )
    if background == "queries":  # a threshold means nothing to it
        np.testing.assert_array_equal(low, high)
    else:
        assert used(high) == {0}
    assert (0 in used(low)) == (background != "threshold")


def test_threshold_without_a_class_is_background(tiny_architecture: str) -> None:
    method = build(tiny_architecture, background="threshold", prompt_denoising=0.5)
    assert used(method.segment(images((36, 45)), [()])[0]) == {0}


def test_threshold_needs_a_background_label(tiny_architecture: str) -> None:
    plain = build(tiny_architecture, PLACES).segment(images((36, 45)))[0]
    both = build(tiny_architecture, PLACES, background="both", background_threshold=1.0)
    np.testing.assert_array_equal(both.segment(images((36, 45)))[0], plain)


def test_denoising_keeps_labels_that_some_place_is_sure_of() -> None:
    probability = torch.tensor(
        [[0.30, 0.10], [0.30, 0.10], [0.35, 0.25], [0.05, 0.55]]  # queries by places
    )
    logits = probability.log()[:, None, :]
    labels = np.array([1, 1, 2, 5])
    assert confident_queries(logits, labels, 0.5).tolist() == [True, True, False, True]
    assert confident_queries(logits, labels, 0.57).tolist() == [True, True, False, False]
    # Nothing is that sure: the most probable label remains.
    assert confident_queries(logits, labels, 0.9).tolist() == [True, True, False, False]


def test_smoothing_is_a_cosine_weighted_sum() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4, 2, 3, generator=generator)
    keys = functional.normalize(torch.randn(5, 2, 3, generator=generator), dim=0)
    probability = logits.softmax(dim=0)
    threshold = float(probability.amax(dim=0).median())
    expected = probability.clone()
    for y, x in np.ndindex(2, 3):
        if probability[:, y, x].max() < threshold:
            cosine = (keys * keys[:, y, x][:, None, None]).sum(dim=0)
            expected[:, y, x] = (probability * cosine).sum(dim=(1, 2))
    assert not torch.allclose(expected, probability)
    torch.testing.assert_close(smooth_by_keys(logits, keys, threshold), expected)


@pytest.mark.parametrize("preset", sorted(MaskCLIP.presets))
def test_presets_run(tiny_architecture: str, preset: str) -> None:
    method = build(tiny_architecture, **{**MaskCLIP.presets[preset], "max_long_side": 64})
    (answer,) = method.segment(images((36, 45)))
    assert answer.shape == (36, 45)


def test_default_input_follows_the_training_size(tiny_architecture: str) -> None:
    method = build(tiny_architecture)
    assert method._input(images((36, 36))[0]).shape == (3, 72, 72)  # 32 * 512 / 224 = 73.1
    method = build(tiny_architecture, short_side=40)
    assert method._input(images((36, 36))[0]).shape == (3, 40, 40)


def test_normalisation_is_a_setting(tiny_architecture: str) -> None:
    image = images((36, 36))[0]
    own, imagenet = (
        build(tiny_architecture, normalisation=name, short_side=40)._input(image)
        for name in ("clip", "imagenet")
    )
    mean, std = build(tiny_architecture)._clip.mean[0], build(tiny_architecture)._clip.std[0]
    torch.testing.assert_close(own[0] * std + mean, imagenet[0] * 0.229 + 0.485)


def test_stages_are_timed(tiny_architecture: str) -> None:
    method = build(tiny_architecture)
    with measure("cpu") as measurement:
        method.segment(images((36, 45)))
    assert set(measurement.stages_s) == {"preprocess", "encode", "match", "upsample"}


def test_prompt_sets() -> None:
    names = ("maskclip85", "imagenet80", "single", "phrase")
    assert [len(set(templates(name))) for name in names] == [85, 80, 1, 1]
    assert all(template.count("{}") == 1 for template in templates("maskclip85"))
    assert "a bad photo of a {}." in templates("imagenet80")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 32}, "window_stride"),
        ({"short_side": 0}, "positive"),
        ({"background_threshold": 50}, "between 0 and 1"),
        ({"key_smoothing": 1.0, "background": "both"}, "background=queries"),
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        override(MaskCLIPSettings, settings)


def test_windows_must_fit_the_patches(tiny_architecture: str) -> None:
    with pytest.raises(UsageError, match="multiples of 8"):
        build(tiny_architecture, window=36, window_stride=12)


def test_every_setting_names_its_source() -> None:
    assert all(info.source and info.help for info in describe(MaskCLIPSettings))


@pytest.mark.slow
def test_full_size_model_on_a_photograph(sample_data: Any) -> None:
    from PIL import Image as PillowImage

    photographs = sorted(sample_data.glob("voc/VOCdevkit/VOC2012/JPEGImages/*.jpg"))
    image = np.asarray(PillowImage.open(photographs[0]).convert("RGB"))
    (answer,) = build("ViT-B-16").segment([image])
    assert answer.shape == image.shape[:2]
    assert answer.max() <= 3
