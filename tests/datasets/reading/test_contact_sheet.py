from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovbench.datasets import load_dataset
from ovbench.datasets.reading.contact_sheet import TILE, choose, contact_sheet
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.datasets import Prompt, Sample
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Exemplar, Vocabulary


def sample(label: LabelMap, shade: int = 100, prompt: Prompt | None = None) -> Sample:
    return Sample("a", np.full((*label.shape, 3), shade, np.uint8), label, prompt)


def colours(sheet: Image.Image) -> set[tuple[int, ...]]:
    return {tuple(c) for c in np.asarray(sheet).reshape(-1, 3).tolist()}


def test_samples_are_drawn_by_seed_from_the_whole_set() -> None:
    assert choose(5, 12, 0) == [0, 1, 2, 3, 4]
    assert choose(1000, 12, 0) == choose(1000, 12, 0) == sorted(set(choose(1000, 12, 0)))
    assert choose(1000, 12, 0) != choose(1000, 12, 1)
    assert max(choose(1000, 12, 0)) > 500


def test_every_class_has_a_colour_in_picture_and_legend() -> None:
    label = np.repeat(np.array([[0, 1, 2, 255]], np.uint8), 30, 0).repeat(30, 1)
    vocabulary = Vocabulary.of("cat", "dog", "bird", "cow")
    sheet = contact_sheet(vocabulary, [sample(label)])
    tile = np.asarray(sheet)[10 : 10 + TILE[1], 10 + TILE[0] + 2 : 10 + 2 * TILE[0] + 2]
    middle = [tuple(tile[TILE[1] // 2, int(TILE[0] * (k + 0.5) / 4)].tolist()) for k in range(3)]
    assert len(set(middle)) == 3
    # A legend's colour is the picture's before it is mixed with the photograph.
    for found in middle:
        legend = tuple(round((c - 35) / 0.65) for c in found)
        assert any(np.abs(np.subtract(legend, c)).max() <= 2 for c in colours(sheet))
    assert (160, 160, 160) in colours(sheet)  # hatching where nothing is scored


@pytest.mark.parametrize("shape", [(1, 1), (7, 500), (500, 7), (375, 500), (1024, 2048)])
def test_pictures_of_any_size_fit(shape: tuple[int, int]) -> None:
    vocabulary = Vocabulary.of("cat", background=True)
    label = np.zeros(shape, np.uint8)
    one = contact_sheet(vocabulary, [sample(label)])
    five = contact_sheet(vocabulary, [sample(label)] * 5)
    assert one.width > 2 * TILE[0]
    assert five.height > 2 * TILE[1]
    assert five.width < 7 * TILE[0]


def test_a_prompt_is_shown_before_its_sample() -> None:
    shown = Exemplar(np.full((30, 40, 3), 200, np.uint8), np.eye(30, 40, dtype=bool))
    asked = Vocabulary((ClassQuery("cat", exemplars=(shown,)),), Background())
    label = np.zeros((30, 40), np.uint8)
    vocabulary = Vocabulary.of("cat", background=True)
    alone = contact_sheet(vocabulary, [sample(label)])
    prompted = contact_sheet(vocabulary, [sample(label, prompt=Prompt("p", asked, (0, 1)))])
    assert prompted.width == alone.width + TILE[0] + 2
    assert (230, 25, 75) in colours(prompted)


def test_many_classes_with_long_names() -> None:
    names = [f"Größe {i}, a name that is far too long for a legend" for i in range(120)]
    label = np.arange(120, dtype=np.uint8).reshape(10, 12).repeat(20, 0).repeat(20, 1)
    sheet = contact_sheet(Vocabulary.of(*names), [sample(label)])
    assert len(colours(sheet)) > 120
    assert sheet.height > TILE[1] + 120 // 3 * 20


def test_a_real_sheet(sample_data: Path) -> None:
    dataset = load_dataset("voc", root=sample_data / "voc")
    samples = [dataset.load(i) for i in range(3)]
    sheet = contact_sheet(dataset.vocabulary, samples)
    pixels = np.asarray(sheet)
    shown = pixels[10 : 10 + TILE[1], 10 : 10 + TILE[0]]
    # The first tile is the picture itself, smaller: the mean colour stays.
    inside = shown[(shown != 238).any(axis=-1)]
    assert np.abs(inside.mean(axis=0) - samples[0].image.mean(axis=(0, 1))).max() < 4
