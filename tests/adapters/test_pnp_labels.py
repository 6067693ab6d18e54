"""From salience to labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from ovbench.adapters.pnp_ovss.labels import class_planes, label_map, masks, with_background
from ovbench.adapters.pnp_ovss.settings import Settled
from ovbench.harness.protocol import Vocabulary

THINGS = Vocabulary.of("cat", "dog", "bird", background=True)
STUFF = Vocabulary.of("sea", "sky", "sand")
HALVES = np.concatenate([np.full((32, 20, 3), 200), np.full((32, 20, 3), 40)], axis=1)
IMAGE = HALVES.astype(np.uint8)


def settled(**values: Any) -> Settled:
    return Settled(**{"resolution": 32, "layer": 1, "head": 1, "threshold": 0.15, **values})


def halves(*values: tuple[float, float]) -> torch.Tensor:
    """Maps of 4 x 4 patches with a value for the left half and one for the right half."""
    return torch.stack(
        [torch.tensor([left, left, right, right]).expand(4, 4).clone() for left, right in values]
    )


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("image", [[1, 0], [0, 0]]),
        ("class", [[1, 0], [0, 1]]),
        ("patch", [[1, 0], [0, 1]]),
        ("absolute", [[1, 0], [0, 0]]),
    ],
)
def test_threshold_units(unit: str, expected: list[list[int]]) -> None:
    maps = halves((4.0, 0.0), (0.01, 0.1))
    found = masks(maps, settled(threshold_of=unit))[:, 0, ::3]
    assert found.tolist() == expected


def test_soft_masks_keep_their_values() -> None:
    maps = halves((4.0, 0.1))
    assert masks(maps, settled(mask="soft", threshold_of="image"))[0, 0].tolist() == [4, 4, 0, 0]


@pytest.mark.parametrize("steps", [{}, {"blur": 0.0}, {"crf_iterations": 0}])
def test_each_half_gets_its_class(steps: dict[str, Any]) -> None:
    labels = np.array([1, 2, 3])
    maps = halves((5.0, 0.0), (0.0, 3.0), (0.0, 0.0))
    found = label_map(maps, labels, IMAGE, THINGS, settled(**steps))
    assert found.shape == (32, 40)
    assert found.dtype == THINGS.label_dtype
    assert (found[:, :18] == 1).all()
    assert (found[:, 22:] == 2).all()


@pytest.mark.parametrize("steps", [{}, {"crf_iterations": 0}, {"crf_iterations": 0, "blur": 0.0}])
def test_background_is_where_no_class_is(steps: dict[str, Any]) -> None:
    maps = halves((5.0, 0.0), (0.0, 0.0), (0.0, 0.0))
    found = label_map(maps, np.array([1, 2, 3]), IMAGE, THINGS, settled(**steps))
    assert (found[:, :16] == 1).all()
    assert (found[:, 26:] == 0).all()


@pytest.mark.parametrize("steps", [{}, {"crf_iterations": 0}, {"crf_iterations": 0, "blur": 0.0}])
def test_without_any_salience_there_is_still_an_answer(steps: dict[str, Any]) -> None:
    nothing = torch.zeros(3, 4, 4)
    found = label_map(nothing, np.array([1, 2, 3]), IMAGE, THINGS, settled(**steps))
    assert (found == 0).all()
    found = label_map(nothing, np.array([0, 1, 2]), IMAGE, STUFF, settled(**steps))
    assert set(np.unique(found)) <= {0, 1, 2}
    assert not label_map(nothing[:0], np.array([]), IMAGE, THINGS, settled(**steps)).any()


def test_without_background_weak_salience_decides_where_masks_are_empty() -> None:
    settings = settled(threshold_of="image", crf_iterations=0, blur=0.01)
    maps = halves((5.0, 0.0), (0.0, 0.0), (0.0, 0.1))
    found = label_map(maps, np.array([0, 1, 2]), IMAGE, STUFF, settings)
    assert (found[:, 30:] == 2).all()


def test_empty_classes_share_a_plane_and_nothing_changes() -> None:
    maps = torch.zeros(6, 4, 4)
    maps[2, :2], maps[4, 2:, :2] = 3.0, 2.0
    labels = np.arange(1, 7)
    vocabulary = Vocabulary.of(*"abcdef", background=True)
    settings = settled(threshold_of="image", softmax=True)
    planes = class_planes(maps, labels, IMAGE.shape[:2], settings)
    assert planes.labels.tolist() == [3, 5, 1]
    assert planes.copies == (1, 1, 4)
    assert with_background(planes, settings).labels.tolist() == [0, 3, 5, 1]
    # Values that are almost nothing, but above a threshold of nothing, get planes of their own.
    open_ = replace(settings, mask="soft", threshold=0.0, threshold_of="absolute")
    assert len(class_planes(maps + 1e-30, labels, IMAGE.shape[:2], open_).labels) == 6
    for steps in ({}, {"blur": 0.0, "crf_iterations": 2}):
        chosen = replace(open_, blur_rescale=False, **steps)
        alone = label_map(maps + 1e-30, labels, IMAGE, vocabulary, chosen)
        assert (alone == label_map(maps, labels, IMAGE, vocabulary, chosen)).all()


def test_residual_background_is_what_the_masks_leave() -> None:
    settings = settled(threshold_of="image", blur=0.0)
    planes = class_planes(halves((5.0, 0.0)), np.array([1]), (32, 40), settings)
    values = with_background(planes, settings).values
    torch.testing.assert_close(values[0], 1 - values[1])
    empty = with_background(planes, replace(settings, background="empty")).values
    assert set(empty[0].unique().tolist()) == {0.0, 1.0}
    assert (empty[0] == (values[1] == 0)).all()
