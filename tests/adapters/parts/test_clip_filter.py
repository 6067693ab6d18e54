"""The rules against independent computation, and the filter on rendered scenes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from ovbench.adapters.parts.clip_filter import (
    CLIPFilter,
    CLIPFilterSettings,
    above_average,
    above_ratio,
)
from ovbench.datasets import load_dataset
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.filters import ClassFilter
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import describe, override
from ovbench.harness.contract.vocabulary import ClassQuery, Vocabulary

ANIMALS = Vocabulary.of("cat", "dog", "bird", "sheep", background=True)


def build(architecture: str, vocabulary: Vocabulary = ANIMALS, **settings: Any) -> CLIPFilter:
    values = {"architecture": architecture, "pretrained": "random", **settings}
    chooser = CLIPFilter(override(CLIPFilterSettings, values), Runtime())
    chooser.prepare(vocabulary)
    return chooser


def images(count: int) -> list[Image]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (30 + i, 50, 3), dtype=np.uint8) for i in range(count)]


def test_it_is_a_class_filter(tiny_architecture: str) -> None:
    chooser = build(tiny_architecture)
    assert isinstance(chooser, ClassFilter)
    assert [record.role for record in chooser.checkpoints] == ["clip"]


def test_a_ratio_is_of_probabilities() -> None:
    probability = torch.tensor([0.5, 0.3, 0.04, 0.06, 0.1])
    for threshold in (1.0, 0.5, 0.15, 0.1, 0.01):
        expected = probability >= threshold * 0.5
        assert torch.equal(above_ratio(probability.log() + 7, threshold - 1e-6), expected)


def test_the_average_rule_is_a_share_of_a_softmax() -> None:
    cosines = torch.tensor([0.31, 0.1, 0.2, 0.19, 0.05])
    probability = cosines.exp() / cosines.exp().sum()
    assert above_average(cosines).tolist() == [bool(p >= 0.2) for p in probability]
    assert above_average(torch.full((3,), 0.2)).any()


def test_classes_are_compared_by_their_nearest_name(tiny_architecture: str) -> None:
    vocabulary = Vocabulary(
        (ClassQuery("cat", ("kitten", "tabby")), ClassQuery("dog"), ClassQuery("bird", ("gull",)))
    )
    chooser = build(tiny_architecture, vocabulary, threshold=1.0)
    clip = chooser._clip
    for image in images(4):
        mean, std = (torch.tensor(v)[:, None, None] for v in (clip.mean, clip.std))
        pixels = torch.tensor(image).permute(2, 0, 1)[None].float()
        squashed = functional.interpolate(
            pixels, (32, 32), mode="bicubic", antialias=True
        ).clamp(0, 255)  # fmt: skip
        embedded = clip.encode_image((squashed / 255 - mean) / std)[0]
        names = ["cat", "kitten", "tabby", "dog", "bird", "gull"]
        cosines = clip.encode_text([f"a photo of a {name}." for name in names]) @ embedded
        assert chooser.select([image]) == [([0, 0, 0, 1, 2, 2][int(cosines.argmax())],)]


@pytest.mark.parametrize("rule", ["ratio", "average"])
@pytest.mark.parametrize("vocabulary", [ANIMALS, Vocabulary.of("sea", "sky", "sand")])
def test_answers_are_classes(tiny_architecture: str, rule: str, vocabulary: Vocabulary) -> None:
    chooser = build(tiny_architecture, vocabulary, rule=rule, threshold=1e-30)
    for chosen in chooser.select(images(6)):
        assert chosen == tuple(sorted(set(chosen)))
        assert set(chosen) <= set(range(vocabulary.offset, len(vocabulary)))
        assert chosen


def test_no_more_than_asked_for_and_the_best_among_them(tiny_architecture: str) -> None:
    batch = images(5)
    everything = build(tiny_architecture, threshold=1e-30).select(batch)
    assert everything == [(1, 2, 3, 4)] * 5
    best = build(tiny_architecture, threshold=1.0).select(batch)
    two = build(tiny_architecture, threshold=1e-30, most=2).select(batch)
    assert [len(chosen) for chosen in best] == [1] * 5
    assert [len(chosen) for chosen in two] == [2] * 5
    assert all(set(b) <= set(t) for b, t in zip(best, two, strict=True))


def test_answers_do_not_depend_on_the_batch(tiny_architecture: str) -> None:
    chooser, batch = build(tiny_architecture, rule="average"), images(6)
    assert chooser.select(batch) == [chooser.select([image])[0] for image in batch]


def test_a_second_vocabulary_replaces_the_first(tiny_architecture: str) -> None:
    chooser, places = build(tiny_architecture), Vocabulary.of("sea", "sky")
    chooser.prepare(places)
    assert chooser.select(images(3)) == build(tiny_architecture, places).select(images(3))


@pytest.mark.parametrize("settings", [{"threshold": 0}, {"threshold": 1.5}, {"most": 0}])
def test_settings_are_checked(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="threshold must be above 0"):
        override(CLIPFilterSettings, settings)


def test_every_setting_names_its_source() -> None:
    assert all(info.source and info.help for info in describe(CLIPFilterSettings))


def found(name: str, rule: str) -> tuple[float, float]:
    """Precision and recall over the classes of rendered scenes."""
    dataset = load_dataset(name)
    settings = override(CLIPFilterSettings, {"rule": rule})
    chooser = CLIPFilter(settings, Runtime(checkpoints="toy"))
    chooser.prepare(dataset.vocabulary)
    samples = [dataset.load(i) for i in range(60)]
    chosen = [set(labels) for labels in chooser.select([s.image for s in samples])]
    classes = range(dataset.vocabulary.offset, len(dataset.vocabulary))
    present = [set(np.unique(s.label).tolist()) & set(classes) for s in samples]
    return share(chosen, present), share(present, chosen)


def share(of: Sequence[set[int]], among: Sequence[set[int]]) -> float:
    return sum(len(a & b) for a, b in zip(of, among, strict=True)) / sum(map(len, of))


@pytest.mark.parametrize("name", ["toyworld", "toyworld_stuff"])
@pytest.mark.parametrize(
    ("rule", "least_precision", "least_recall"), [("ratio", 0.95, 0.92), ("average", 0.8, 0.97)]
)
def test_it_finds_what_rendered_scenes_hold(
    name: str, rule: str, least_precision: float, least_recall: float
) -> None:
    precision, recall = found(name, rule)
    assert precision >= least_precision
    assert recall >= least_recall


@pytest.mark.slow
def test_the_full_size_model_on_photographs(sample_data: Path) -> None:
    dataset = load_dataset("voc", root=sample_data / "voc")
    settings = override(CLIPFilterSettings, {"pretrained": "random", "rule": "average"})
    chooser = CLIPFilter(settings, Runtime())
    chooser.prepare(dataset.vocabulary)
    chosen = chooser.select([dataset.load(i).image for i in range(2)])
    assert all(1 <= len(labels) <= 10 for labels in chosen)
    assert all(set(labels) <= set(range(1, 21)) for labels in chosen)
