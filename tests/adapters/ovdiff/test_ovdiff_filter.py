"""CLIP as a multi-label classifier: every combination, without encoding it twice."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import normalize, to_tensor

from ovbench.adapters.ovdiff import category_filter
from ovbench.adapters.ovdiff.category_filter import CategoryFilter, FilterRule, all_subsets
from ovbench.datasets import load_dataset
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.vocabulary import ClassQuery
from ovbench.models.clip.model import CLIP, load_clip
from ovbench.models.pixels.inputs import squashed

DATA = load_dataset("toyworld")


@pytest.fixture(scope="module")
def clip() -> CLIP:
    return load_clip("ViT-B-16", "openai", Runtime(checkpoints="toy"))


@pytest.mark.parametrize("members", [(4,), (1, 5), (0, 2, 3, 7), tuple(range(10))])
def test_subsets_are_those_of_a_truth_table(members: tuple[int, ...]) -> None:
    table = {
        tuple(m for m, yes in zip(members, row, strict=True) if yes)
        for row in product([False, True], repeat=len(members))
    }
    found = all_subsets(members)
    assert set(found) == table - {()}
    assert len(found) == len(set(found)) == 2 ** len(members) - 1


def seen_as_released(clip: CLIP, image: np.ndarray) -> torch.Tensor:
    """The pixels: Lanczos by Pillow to 512, then four neighbours, for a CLIP of 224."""
    side = clip.image_size
    large = Image.fromarray(image).resize((round(side * 512 / 224),) * 2, Image.Resampling.LANCZOS)
    pixels = to_tensor(large)[None]
    small = torch.nn.functional.interpolate(pixels, (side, side), mode="bilinear")
    return normalize(small, list(clip.mean), list(clip.std))


def by_hand(
    clip: CLIP, image: np.ndarray, names: list[str], most: int, rule: FilterRule
) -> tuple[int, ...]:
    """The definition, one text at a time."""
    released = rule == "released_code"
    direct = squashed(clip, [image], clip.image_size)
    seen = clip.encode_image(seen_as_released(clip, image) if released else direct)[0]
    cosine = torch.stack([clip.encode_text([f"a {name}"])[0] @ seen for name in names])
    probability = torch.exp(cosine) / torch.exp(cosine).sum()
    good = [i for i in range(len(names)) if probability[i] > 1 / len(names)]
    many = len(good) > most
    good = sorted(good, key=lambda i: -probability[i])[:most]
    best, answer = -2.0, ()
    for subset in all_subsets(tuple(good if released and many else sorted(good))):
        text = " and ".join(f"a {names[i]}" if released else names[i] for i in subset)
        score = float(clip.encode_text([text])[0] @ seen)
        if score > best:
            best, answer = score, subset
    return answer


@pytest.mark.parametrize("rule", ["direct", "released_code"])
@pytest.mark.parametrize("most", [2, 4])
def test_choice_against_the_definition(clip: CLIP, most: int, rule: FilterRule) -> None:
    classes = DATA.vocabulary.classes
    names = [query.name for query in classes]
    chooser = CategoryFilter(clip, classes, most, rule)
    for index in range(6):
        image = DATA.load(index).image
        expected = by_hand(clip, image, names, most, rule)
        assert chooser.choose(image, range(len(names))) == expected


def test_no_combination_is_encoded_twice_and_some_are_forgotten(
    clip: CLIP, monkeypatch: pytest.MonkeyPatch
) -> None:
    chooser = CategoryFilter(clip, DATA.vocabulary.classes, most=10)
    images = [DATA.load(index).image for index in range(12)]
    first = [chooser.choose(image, range(10)) for image in images]
    assert chooser.passes <= len(images)
    assert chooser.texts == len(chooser._known)
    texts, passes = chooser.texts, chooser.passes
    assert [chooser.choose(image, range(10)) for image in images] == first
    assert (chooser.texts, chooser.passes) == (texts, passes)
    monkeypatch.setattr(category_filter, "REMEMBERED", 20)
    assert [chooser.choose(image, range(10)) for image in images] == first
    assert len(chooser._known) == 20
    assert chooser.texts > texts


def test_it_chooses_among_what_is_allowed_and_any_name_of_a_class_counts(clip: CLIP) -> None:
    image = DATA.load(0).image
    plain = CategoryFilter(clip, DATA.vocabulary.classes, most=3)
    assert plain.choose(image, [7]) == (7,)
    assert set(plain.choose(image, [2, 5, 8])) <= {2, 5, 8}
    seen = clip.encode_image(squashed(clip, [image], clip.image_size))[0]
    names = [query.name for query in DATA.vocabulary.classes]
    cosines = clip.encode_text([f"a {name}" for name in names]) @ seen
    best, second, worst = (names[i] for i in cosines.argsort(descending=True)[[0, 1, -1]].tolist())
    classes = [ClassQuery(worst, (best,)), ClassQuery(second)]
    assert CategoryFilter(clip, classes, most=3)._promising(seen, range(2)) == (0,)
    alone = [ClassQuery(worst), ClassQuery(second)]
    assert CategoryFilter(clip, alone, most=3)._promising(seen, range(2)) == (1,)
