"""The reward, against a loop written from the paper's equations 4 and 5."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ovbench.adapters.parts import clip_reward
from ovbench.adapters.parts.clip_reward import ClipReward, masked_images
from ovbench.datasets import load_dataset
from ovbench.harness.contract.datasets import Sample
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.run.counting import present_labels
from ovbench.models.clip.model import CLIP, load_clip
from ovbench.models.pixels.inputs import input_tensor

SCENES = 24


@pytest.fixture(scope="module")
def clip() -> CLIP:
    return load_clip("ViT-B-16", "openai", Runtime(checkpoints="toy"))


@pytest.fixture(scope="module")
def scenes() -> tuple[Vocabulary, list[Sample]]:
    data = load_dataset("toyworld_stuff")
    return data.vocabulary, [data.load(index) for index in range(SCENES)]


def masks_of(sample: Sample, vocabulary: Vocabulary) -> tuple[list[int], torch.Tensor]:
    present = list(present_labels(sample.label, vocabulary, 255))
    return present, torch.tensor(np.stack([sample.label == label for label in present]))


def similarity(clip: CLIP, image: np.ndarray, name: str) -> float:
    """f(I, k), one picture and one name at a time."""
    size = (clip.image_size, clip.image_size)
    pixels = input_tensor(
        image, size, mean=clip.mean, std=clip.std, mode="bicubic", device=clip.device
    )
    picture = clip.encode_image(pixels[None])[0]
    return 100 * float(picture @ clip.encode_text([f"a photo of a {name}."])[0])


def probability(clip: CLIP, image: np.ndarray, name: str, names: list[str]) -> float:
    exponents = [math.exp(similarity(clip, image, other)) for other in names]
    return math.exp(similarity(clip, image, name)) / sum(exponents)


@pytest.mark.parametrize("contrast", ["present", "vocabulary"])
@pytest.mark.parametrize("soft", [False, True])
def test_rewards_are_those_of_the_equations(
    clip: CLIP,
    scenes: tuple[Vocabulary, list[Sample]],
    contrast: clip_reward.Contrast,
    soft: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clip_reward, "IMAGES_PER_PASS", 2)
    vocabulary, samples = scenes
    reward = ClipReward(clip, contrast)
    reward.prepare(vocabulary)
    seen = set()
    for sample in samples[:3]:
        present, masks = masks_of(sample, vocabulary)
        masks[0] = masks[-1]  # a wrong one, so that not all are rewarded
        if soft:
            masks = masks * 0.9 + 0.05
        names = [vocabulary.names[label] for label in present]
        contrasted = names if contrast == "present" else list(vocabulary.names)
        black = np.zeros_like(sample.image)
        expected = []
        for name, mask in zip(names, masks.numpy(), strict=True):
            shown = np.round(sample.image * mask[..., None]).astype(np.uint8)
            own = probability(clip, shown, name, contrasted)
            expected.append(float(own > probability(clip, black, name, contrasted)))
        assert reward.rewards(sample.image, masks, present).tolist() == expected
        seen |= set(expected)
    assert seen == {0.0, 1.0}


def test_labels_count_from_behind_the_background(clip: CLIP) -> None:
    names = ["circle", "sphere", "boat", "cat"]
    image = load_dataset("toyworld").load(0).image
    masks = torch.rand(2, *image.shape[:2], generator=torch.Generator().manual_seed(0))
    answers = []
    for background in (False, True):
        vocabulary = Vocabulary.of(*names, background=background)
        reward = ClipReward(clip, "vocabulary")
        reward.prepare(vocabulary)
        labels = [vocabulary.offset + 1, vocabulary.offset + 3]
        answers.append(reward.rewards(image, masks, labels).tolist())
    assert answers[0] == answers[1]


def test_true_masks_earn_more_than_those_of_other_places(
    clip: CLIP, scenes: tuple[Vocabulary, list[Sample]]
) -> None:
    vocabulary, samples = scenes
    reward = ClipReward(clip)
    reward.prepare(vocabulary)
    right = wrong = total = 0.0
    for sample in samples:
        present, masks = masks_of(sample, vocabulary)
        if len(present) < 2:
            continue
        right += reward.rewards(sample.image, masks, present).sum().item()
        wrong += reward.rewards(sample.image, masks.roll(1, dims=0), present).sum().item()
        total += len(present)
    assert right / total > 0.8
    assert wrong / total < right / total - 0.3


def test_an_image_of_one_class_earns_only_against_the_vocabulary(
    clip: CLIP, scenes: tuple[Vocabulary, list[Sample]]
) -> None:
    vocabulary, samples = scenes
    present, masks = masks_of(samples[0], vocabulary)
    earned = {}
    for contrast in ("present", "vocabulary"):
        reward = ClipReward(clip, contrast)
        reward.prepare(vocabulary)
        alone = [
            reward.rewards(samples[0].image, mask[None], [label])
            for label, mask in zip(present, masks, strict=True)
        ]
        earned[contrast] = torch.cat(alone).sum().item()
    assert earned["present"] == 0
    assert earned["vocabulary"] > 0


def test_an_empty_mask_earns_nothing(clip: CLIP, scenes: tuple[Vocabulary, list[Sample]]) -> None:
    vocabulary, samples = scenes
    present, masks = masks_of(samples[0], vocabulary)
    reward = ClipReward(clip, "vocabulary")
    reward.prepare(vocabulary)
    assert reward.rewards(samples[0].image, masks & False, present).sum() == 0


def test_masks_must_fit_image_and_classes(
    clip: CLIP, scenes: tuple[Vocabulary, list[Sample]]
) -> None:
    vocabulary, samples = scenes
    present, masks = masks_of(samples[0], vocabulary)
    reward = ClipReward(clip)
    reward.prepare(vocabulary)
    with pytest.raises(ValueError, match="masks of"):
        reward.rewards(samples[0].image, masks[:-1], present)
    with pytest.raises(ValueError, match="masks of"):
        reward.rewards(samples[0].image, masks[:, 1:], present)


def test_masked_pixels_are_black_and_the_others_stay() -> None:
    image = np.full((2, 2, 3), 101, dtype=np.uint8)
    hard = masked_images(image, torch.tensor([[[True, False], [False, True]]]))
    assert hard[0][..., 1].tolist() == [[101, 0], [0, 101]]
    soft = masked_images(image, torch.full((1, 2, 2), 0.5))
    assert np.unique(soft[0]).tolist() == [50]  # to the nearest even, from 50.5
