"""From features in masks to prototypes, and back to the places they came from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from ovbench.adapters.ovdiff.matching import PrototypeSet
from ovbench.adapters.ovdiff.prototypes import KINDS, build, gather, on_grid
from ovbench.adapters.ovdiff.stuff import is_stuff, unlike_stuff
from ovbench.harness.contract.vocabulary import ClassQuery

RNG = np.random.default_rng(0)
FEATURES = torch.from_numpy(RNG.random((3, 5, 4, 6), dtype=np.float32))
MASKS = np.zeros((3, 4, 6), bool)
MASKS[0, 1:3, 2:5] = True
MASKS[2, 0, :] = True  # nothing in picture 1


def test_masks_are_resized_so_that_what_is_touched_counts() -> None:
    masks = np.zeros((1, 16, 16), bool)
    masks[0, 4:6, 4:6] = True  # the centre of one cell of four, to the pixel
    masks[0, 12, 12] = True  # not sampled: cells are sampled at their centres
    grid = on_grid(masks, (4, 4))
    assert np.argwhere(grid[0]).tolist() == [[1, 1]]
    assert (on_grid(MASKS, (4, 6)) == MASKS).all()


def test_prototypes_against_loops() -> None:
    everywhere = ~MASKS
    foreground, background = gather(FEATURES, [MASKS, everywhere], shown_only=False)
    assert len(foreground.values) + len(background.values) == 3 * 24
    for gathered, masks in ((foreground, MASKS), (background, everywhere)):
        found = build(gathered, parts=0)
        means, areas = [], []
        for n in range(3):
            inside = [
                FEATURES[n, :, y, x].numpy() for y in range(4) for x in range(6) if masks[n, y, x]
            ]
            if inside:
                means.append(np.mean(inside, axis=0))
                areas.append(len(inside))
        by_area = sum(m * p for m, p in zip(areas, means, strict=True)) / sum(areas)
        np.testing.assert_allclose(found.vectors[0], by_area, rtol=1e-5)
        np.testing.assert_allclose(found.vectors[1:], means, rtol=1e-5)
        assert found.kind.tolist() == [0, *[1] * len(means)]
        pictures = [n for n in range(3) if masks[n].any()]
        assert found.source.tolist() == [0, *pictures]
        assert (found.places(0) == masks).all()
        for row, picture in enumerate(pictures, start=1):
            only = masks & (np.arange(3) == picture)[:, None, None]
            assert (found.places(row) == only).all()


def test_parts_are_the_means_of_the_places_they_came_from() -> None:
    (gathered,) = gather(FEATURES, [MASKS], shown_only=False)
    found = build(gathered, parts=4)
    rows = found.of_kinds(["part"])
    assert len(rows) == 4
    everything = np.zeros_like(MASKS, int)
    for row in rows:
        places = found.places(row)
        everything += places
        inside = FEATURES.permute(0, 2, 3, 1).numpy()[places]
        np.testing.assert_allclose(found.vectors[row], inside.mean(axis=0), rtol=1e-4)
    assert (everything == MASKS).all()
    assert len(build(gathered, parts=99).of_kinds(["part"])) == MASKS.sum()


def test_kinds_are_chosen_and_a_region_may_be_empty() -> None:
    (gathered,) = gather(FEATURES, [MASKS], shown_only=False)
    found = build(gathered, parts=2)
    assert [len(found.of_kinds([kind])) for kind in KINDS] == [1, 2, 2]
    assert found.of_kinds(["part", "class"]).tolist() == [0, 3, 4]
    (nothing,) = gather(FEATURES, [np.zeros_like(MASKS)], shown_only=False)
    empty = build(nothing, parts=2)
    assert empty.vectors.shape == (0, 5)
    assert (empty.regions == -1).all()


def test_pictures_that_do_not_show_the_class_can_be_left_out() -> None:
    everywhere = np.ones_like(MASKS)
    foreground, background = gather(FEATURES, [MASKS, everywhere], shown_only=True)
    shown = MASKS.any(axis=(1, 2))
    assert shown.tolist().count(False) == 1
    assert len(foreground.values) == MASKS.sum()
    assert (background.masks == everywhere & shown[:, None, None]).all()
    inside = FEATURES.permute(0, 2, 3, 1).numpy()[background.masks]
    assert (background.values == inside).all()


def test_backgrounds_like_stuff_are_found_by_cosine() -> None:
    stuff = torch.eye(4)[:2]
    background = torch.tensor([[2.0, 0.1, 0, 0], [0, 0, 1, 0], [1, 1, 1, 1], [0, 3, 0, 1]])
    cosines = functional.cosine_similarity(background[:, None], stuff[None], dim=-1).amax(dim=1)
    for limit in (0.4, 0.85, 0.95):
        kept = unlike_stuff(background, PrototypeSet.of([stuff]), limit)
        assert kept.tolist() == [cosine <= limit for cosine in cosines.tolist()]


@pytest.mark.parametrize(
    ("query", "source", "expected"),
    [
        (ClassQuery("sky", kind="thing"), "benchmark", False),
        (ClassQuery("sky", kind="thing"), "list", True),
        (ClassQuery("sea", kind="stuff"), "benchmark", True),
        (ClassQuery("sea", kind="stuff"), "list", False),
        (ClassQuery("Snow"), "benchmark", True),
        (ClassQuery("tree"), "benchmark", False),
    ],
)
def test_who_says_what_is_stuff(query: ClassQuery, source: str, expected: bool) -> None:
    assert is_stuff(query, source) == expected  # type: ignore[arg-type]
