"""Co-segmentation against its description, place by place."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ovbench.adapters.reco.cosegment import Columns, context_weights, cosegmented


def written_out(features: Tensor, weights: Tensor, columns: Columns) -> tuple[list[int], Tensor]:
    """Seeds and their mean, by four loops over places of pictures.

    As in networks/reco.py of the released code, whose i-th range of the places of all pictures
    ends where it begins and ends together.
    """
    count, _, height, width = features.shape
    places = [
        (features[n, :, y, x], float(weights[n, y, x]))
        for n in range(count) for y in range(height) for x in range(width)
    ]  # fmt: skip
    each = height * width
    seeds, vectors = [], []
    for picture in range(count):
        support = []
        for own, _ in places[picture * each : (picture + 1) * each]:
            nearest = []
            for other in range(count):
                start, end = other * each, (other + 1) * each
                looked = places[start : start + end if columns == "released" else end]
                nearest.append(
                    max(w * float(own @ v) / float(own.norm() * v.norm()) for v, w in looked)
                )
            support.append(sum(nearest) / count)
        seeds.append(support.index(max(support)))
        vectors.append(places[picture * each + seeds[-1]][0])
    total = torch.stack(vectors).sum(dim=0)
    return seeds, total / total.norm()


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.sampled_from(["released", "own"]))
def test_seeds_and_vector_are_those_of_the_loops(seed: int, count: int, columns: Columns) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, 4, 2, 3, generator=generator, dtype=torch.float64) * 3
    weights = torch.rand(count, 2, 3, generator=generator, dtype=torch.float64)
    found = cosegmented(features, weights, columns)
    seeds, vector = written_out(features, weights, columns)
    assert found.seeds.tolist() == seeds
    torch.testing.assert_close(found.vector, vector)


def test_what_all_pictures_show_is_found_wherever_it_is() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(4, 16, 3, 3, generator=generator)
    shared = torch.randn(16, generator=generator) * 4
    hidden = [5, 0, 8, 3]
    for picture, place in enumerate(hidden):
        features[picture, :, place // 3, place % 3] = shared
    for columns in ("released", "own"):
        found = cosegmented(features, torch.ones(4, 3, 3), columns)
        assert found.seeds.tolist() == hidden
        torch.testing.assert_close(found.vector, shared / shared.norm())


def test_the_released_ranges_reach_into_later_pictures() -> None:
    """A place whose like is in the third picture alone has it in the second's range, too."""
    shared, other, lone, last = torch.eye(4)
    features = torch.stack(
        [
            torch.stack([0.9 * shared + 0.4 * lone, other], dim=1),
            torch.stack([lone, shared], dim=1),
            torch.stack([other, 0.5 * shared + 0.87 * last], dim=1),
        ]
    )[:, :, None]
    own, released = (
        cosegmented(features, torch.ones(3, 1, 2), columns) for columns in ("own", "released")
    )
    assert own.seeds[0] == 0  # (1 + 0.91 + 0.46) / 3, and the other place (1 + 0 + 1) / 3
    assert released.seeds[0] == 1  # which has (1 + 1 + 1) / 3 here


def test_places_like_the_context_weigh_little() -> None:
    sky = torch.tensor([0.0, 1.0])
    features = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, -3.0]]).reshape(1, 2, 1, 3)
    weights = context_weights(features, [sky, sky])
    expected = [(1 - 1 / (1 + math.exp(-cosine))) ** 2 for cosine in (0.0, 1.0, -1.0)]
    assert weights.flatten().tolist() == pytest.approx(expected)
    assert context_weights(features, []).tolist() == [[[1.0, 1.0, 1.0]]]
