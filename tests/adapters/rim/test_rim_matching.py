"""Relation-aware matching against equations 6 to 10, written out one number at a time."""

from __future__ import annotations

import math
from dataclasses import asdict
from itertools import permutations

import numpy as np
import pytest
import torch

from ovbench.adapters.rim import matching
from ovbench.adapters.rim.matching import (
    Positivity,
    Ranking,
    References,
    by_cosine,
    by_relation,
    ranking_distribution,
)
from ovbench.adapters.rim.settings import PRESETS, RIMSettings
from ovbench.harness.contract.settings import override


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b) / (math.sqrt(float(a @ a)) * math.sqrt(float(b @ b)))


def positive(value: float, positivity: str, temperature: float) -> float:
    return math.exp(value / temperature) if positivity == "exp" else max(value, 1e-6)


def distribution(scores: list[float]) -> np.ndarray:
    """Equation 7."""
    found = []
    for order in permutations(range(len(scores))):
        probability = 1.0
        for k in range(len(order)):
            rest = sum(scores[order[j]] for j in range(k, len(order)))
            probability *= scores[order[k]] / rest
        found.append(probability)
    return np.array(found)


def transcribed(
    regions: np.ndarray,
    whole: np.ndarray,
    parts: list[np.ndarray],
    eligible: list[int],
    count: int,
    positivity: str,
    temperature: float,
) -> np.ndarray:
    """The similarity of every region with every reference, in float64."""
    answer = np.zeros((len(regions), len(whole)))
    for p, region in enumerate(regions):
        nearest = sorted(eligible, key=lambda r: -cosine(region, whole[r]))
        agents = [whole[r] for r in nearest[:count]]

        def ranks(feature: np.ndarray, agents: list[np.ndarray] = agents) -> np.ndarray:
            scores = [positive(cosine(feature, a), positivity, temperature) for a in agents]
            return distribution(scores)

        for r, subcategories in enumerate(parts):
            each = [cosine(ranks(region), ranks(part)) for part in subcategories]
            answer[p, r] = sum(each) / len(each)
    return answer


def references(
    whole: np.ndarray, parts: list[np.ndarray], eligible: list[int] | None = None
) -> References:
    agents = torch.zeros(len(whole), dtype=torch.bool)
    agents[list(range(len(whole))) if eligible is None else eligible] = True
    owner = [r for r, each in enumerate(parts) for _ in each]
    stacked = np.concatenate(parts).astype(np.float32)
    return References(
        torch.tensor(whole, dtype=torch.float32),
        torch.from_numpy(stacked),
        torch.tensor(owner),
        agents,
    )


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def features(seed: int, *shape: int, shift: float = 0.0) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=shape) + shift
    return drawn.astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("positivity", ["clamp", "exp"])
@pytest.mark.parametrize("count", [2, 3, 4, 5])
@pytest.mark.parametrize("shift", [0.0, 0.7])  # without it about half of the cosines are negative
def test_equations_6_to_10(count: int, positivity: Positivity, shift: float) -> None:
    regions, whole = features(1, 6, 9, shift=shift), features(2, 7, 9, shift=shift)
    parts = [features(3 + r, 1 + r % 4, 9, shift=shift) for r in range(7)]
    for subcategories in ([row[None] for row in whole], parts):
        expected = transcribed(regions, whole, subcategories, [*range(7)], count, positivity, 0.2)
        found = by_relation(
            torch.tensor(regions),
            references(whole, subcategories),
            Ranking(count, positivity=positivity, temperature=0.2),
            generator(),
        )
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_fewer_references_than_agents() -> None:
    regions, whole = features(1, 4, 5), features(2, 3, 5)
    parts = [features(3 + r, 2, 5) for r in range(3)]
    expected = transcribed(regions, whole, parts, [0, 1, 2], 4, "clamp", 0.1)
    found = by_relation(torch.tensor(regions), references(whole, parts), Ranking(4), generator())
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
    one = by_relation(
        torch.tensor(regions), references(whole[:1], parts[:1]), Ranking(4), generator()
    )
    assert one.tolist() == [[1.0]] * 4


def test_ties_and_scores_that_are_not_positive() -> None:
    # Cosines of exactly 0, 1 and -1, and two references that are the same.
    whole = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], [0, 1, 0]])
    regions = np.array([[1.0, 0, 0], [0, 1, 0], [-1, -1, -1], [1, 1, 1]])
    parts = [row[None] for row in whole]
    for positivity in ("clamp", "exp"):
        expected = transcribed(regions, whole, parts, [*range(5)], 5, positivity, 0.1)
        found = by_relation(
            torch.tensor(regions),
            references(whole, parts),
            Ranking(5, positivity=positivity),
            generator(),
        )
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
        np.testing.assert_allclose(found[:, 1], found[:, 4], atol=1e-6)


def test_only_the_eligible_are_agents() -> None:
    regions, whole = features(1, 5, 6), features(2, 6, 6)
    parts = [row[None] for row in whole]
    expected = transcribed(regions, whole, parts, [1, 2, 4], 3, "clamp", 0.1)
    found = by_relation(
        torch.tensor(regions), references(whole, parts, [1, 2, 4]), Ranking(3), generator()
    )
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_where_only_agents_may_win_all_others_are_below_them() -> None:
    regions, whole = features(1, 5, 6), features(2, 7, 6)
    given = references(whole, [features(3 + r, 2, 6) for r in range(7)], [0, 2, 3, 5, 6])
    plain = by_relation(torch.tensor(regions), given, Ranking(3), generator())
    found = by_relation(torch.tensor(regions), given, Ranking(3, winner="agent"), generator())
    for p, region in enumerate(regions):
        nearest = sorted([0, 2, 3, 5, 6], key=lambda r: -cosine(region, whole[r]))[:3]
        for r in range(7):
            assert found[p, r] == (plain[p, r] if r in nearest else -1)


def test_agents_only_is_exponential_and_no_other_reference_wins() -> None:
    default, preset = (override(RIMSettings, v) for v in ({}, PRESETS["agents_only"]))
    changed = {k: v for k, v in asdict(preset).items() if v != getattr(default, k)}
    assert changed == {"positivity": "exp", "winner": "agent"}
    regions, whole = features(1, 6, 9), features(2, 7, 9)
    parts = [features(3 + r, 8, 9) for r in range(7)]
    expected = transcribed(regions, whole, parts, [*range(7)], 4, "exp", 0.1)
    for region, similarities in zip(regions, expected, strict=True):
        order = sorted(range(7), key=lambda r: -cosine(region, whole[r]))
        similarities[order[4:]] = -1
    ranking = Ranking(preset.agents, temperature=preset.temperature, **PRESETS["agents_only"])
    found = by_relation(torch.tensor(regions), references(whole, parts), ranking, generator())
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_the_example_of_the_paper() -> None:
    # Equation 8: the probability of (chair, sofa, bench).
    sofa, chair, bench = 0.2, 0.5, 0.3
    found = ranking_distribution(torch.tensor([sofa, chair, bench]).log())
    place = [*permutations(("sofa", "chair", "bench"))].index(("chair", "sofa", "bench"))
    expected = chair / (sofa + bench + chair) * (sofa / (sofa + bench))
    assert float(found[place]) == pytest.approx(expected, abs=1e-6)
    assert float(found.sum()) == pytest.approx(1, abs=1e-6)


def test_extreme_temperatures_stay_finite() -> None:
    found = ranking_distribution(torch.tensor([[500.0, -500, 0, -499]]))
    assert found.isfinite().all()
    # Logarithms of 500 are rounded to 3e-5.
    assert float(found.sum()) == pytest.approx(1, abs=1e-4)
    assert float(found.max()) == pytest.approx(1 / (1 + math.exp(-1)), abs=1e-4)


def test_regions_are_independent_of_how_they_are_chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    regions, whole = features(1, 11, 8), features(2, 6, 8)
    given = references(whole, [features(r, 3, 8) for r in range(6)])
    together = by_relation(torch.tensor(regions), given, Ranking(4), generator())
    monkeypatch.setattr(matching, "CHUNK_BYTES", 1)
    torch.testing.assert_close(
        together, by_relation(torch.tensor(regions), given, Ranking(4), generator())
    )


def test_random_agents_differ_by_region_and_follow_the_seed() -> None:
    cosines = torch.linspace(0, 1, 40).repeat(30, 1)
    eligible = torch.arange(40) % 2 == 0
    ranking = Ranking(4, selection="random")
    first = matching.choose_agents(cosines, eligible, ranking, generator())
    assert torch.equal(first, matching.choose_agents(cosines, eligible, ranking, generator()))
    assert eligible[first].all()
    assert all(len(set(row)) == 4 for row in first.tolist())
    assert len({tuple(row) for row in first.tolist()}) > 20


def test_plain_cosine_is_the_mean_over_parts() -> None:
    regions, whole = features(1, 5, 6), features(2, 4, 6)
    parts = [features(3 + r, 1 + r, 6) for r in range(4)]
    expected = [[np.mean([cosine(g, s) for s in each]) for each in parts] for g in regions]
    found = by_cosine(torch.tensor(regions), references(whole, parts))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
