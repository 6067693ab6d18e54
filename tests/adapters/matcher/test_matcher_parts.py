"""The parts of Matcher, against loops, all permutations, and linear programs."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, permutations

import numpy as np
import pytest
import torch

from ovbench.adapters.matcher.drawing import cluster_centres, prompt_sets
from ovbench.adapters.matcher.masks import Found, without_doubles
from ovbench.adapters.matcher.matching import match_both_ways
from ovbench.adapters.matcher.ranking import Scores, choose, earth_movers_distance, score_masks
from ovbench.adapters.matcher.references import squash, touched_cells
from ovbench.adapters.matcher.settings import MatcherSettings

Values = np.typing.NDArray[np.float64]
RNG = np.random.default_rng


def best_assignment(similarity: Values) -> dict[int, int]:
    """Of all ways to give each row a column of its own (or the reverse), the best in total."""
    rows, columns = similarity.shape
    if rows > columns:
        return {row: column for column, row in best_assignment(similarity.T).items()}
    ways = permutations(range(columns), rows)
    best = max(ways, key=lambda way: sum(similarity[r, c] for r, c in enumerate(way)))
    return dict(enumerate(best))


@pytest.mark.parametrize("seed", range(6))
def test_matches_go_there_and_back(seed: int) -> None:
    rng = RNG(seed)
    similarity = rng.uniform(-1, 1, (6, 5))
    inside = np.zeros(6, np.bool_)
    inside[rng.choice(6, 3, replace=False)] = True
    forward = best_assignment(similarity[inside])
    reached = [forward[row] for row in sorted(forward)]
    back = best_assignment(similarity.T[reached])
    pairs = {
        cell: similarity[inside][row, cell] for row, cell in enumerate(reached) if inside[back[row]]
    }
    if not pairs:
        pairs = {cell: similarity[inside][row, cell] for row, cell in forward.items()}
    found = match_both_ways(similarity, inside)
    assert dict(zip(found.cells.tolist(), found.similarity.tolist(), strict=True)) == pairs
    assert (np.diff(found.cells) > 0).all()


def test_matches_that_come_back_outside_are_dropped() -> None:
    # The object's cells 0 and 1 match the picture's 0 and 1, but 1 looks most like cell 2.
    similarity = np.array([[0.9, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.8, 0.1]])
    assert match_both_ways(similarity, np.array([True, True, False])).cells.tolist() == [0]
    # If none came back into it, all are kept.
    assert match_both_ways(similarity, np.array([False, True, False])).cells.tolist() == [1]


def test_of_many_matches_the_better_half_stays() -> None:
    strength = RNG(0).permutation(np.linspace(0.5, 1, 50))
    found = match_both_ways(np.diag(strength), np.ones(50, np.bool_))
    assert found.cells.tolist() == np.flatnonzero(strength >= np.sort(strength)[25]).tolist()
    few = match_both_ways(np.diag(strength[:40]), np.ones(40, np.bool_))
    assert len(few.cells) == 40


def test_more_object_cells_than_the_picture_has() -> None:
    similarity = RNG(0).uniform(size=(9, 4))
    assert match_both_ways(similarity, np.ones(9, np.bool_)).cells.tolist() == [0, 1, 2, 3]


POINTS = np.array([(x * 8.0, y * 8.0) for y, x in [(0, 1), (2, 2), (3, 0), (4, 4), (5, 1)]])


def test_of_few_points_every_combination_is_asked() -> None:
    sets = prompt_sets(POINTS, 2, 9, 99, RNG(0))
    assert [s.shape for s in sets] == [(10, 2, 2), (10, 3, 2), (5, 4, 2), (1, 5, 2)]
    for prompts, number in zip(sets, (2, 3, 4, 5), strict=True):
        expected = {frozenset(map(tuple, c)) for c in combinations(POINTS, number)}
        assert {frozenset(map(tuple, p)) for p in prompts} == expected


def test_of_many_points_random_ones_are_asked() -> None:
    points = RNG(0).permutation(np.array(list(np.ndindex(6, 6)), dtype=float))
    sets = prompt_sets(points, 1, 3, 7, RNG(1))
    assert [s.shape for s in sets] == [(7, 1, 2), (7, 2, 2), (7, 3, 2)]
    assert all(len(set(map(tuple, prompt))) == 3 for prompt in sets[2])
    again, other = prompt_sets(points, 1, 3, 7, RNG(1)), prompt_sets(points, 1, 3, 7, RNG(2))
    assert all((a == b).all() for a, b in zip(sets, again, strict=True))
    assert any((a != b).any() for a, b in zip(sets, other, strict=True))


def test_fewer_points_than_asked_for() -> None:
    (only,) = prompt_sets(POINTS[:1], 4, 6, 30, RNG(0))
    assert only.tolist() == [[POINTS[0].tolist()]]


def test_centres_of_clusters_that_lie_apart() -> None:
    rng = RNG(0)
    middles = np.array([(50.0, 50.0), (300.0, 60.0), (70.0, 400.0)])
    points = np.concatenate(
        [m + rng.permutation(np.array(list(np.ndindex(5, 5)))) for m in middles]
    )
    found = cluster_centres(points, 3, RNG(1))
    assert sorted(found.tolist()) == sorted((middles + 2).tolist())


def test_there_are_no_more_centres_than_points() -> None:
    assert sorted(cluster_centres(POINTS, 8, RNG(0)).tolist()) == sorted(POINTS.tolist())


def test_centres_are_the_means_of_the_points_nearest_to_them() -> None:
    points = np.array(list(np.ndindex(9, 9)), dtype=float) * 16
    points = points[RNG(0).permutation(81)[:40]]
    centres = cluster_centres(points, 4, RNG(3))
    nearest = [min(range(4), key=lambda k: ((p - centres[k]) ** 2).sum()) for p in points]
    for k, centre in enumerate(centres):
        own = points[np.array(nearest) == k]
        assert (np.abs(own.mean(axis=0) - centre) <= 1 + 16 / len(own)).all()  # cut to pixels


def costs(n: int, m: int, seed: int = 0) -> Values:
    """Between two walks on a sphere, neighbours alike as in a picture."""
    rng = RNG(seed)
    walks = [rng.normal(size=(count, 8)).cumsum(axis=0) for count in (n, m)]
    a, b = (w / np.linalg.norm(w, axis=1, keepdims=True) for w in walks)
    return (1 - a @ b.T) / 2


def by_permutations(cost: Values) -> float:
    """Rows and columns repeated to a common multiple; then every one-to-one way."""
    size = np.lcm(*cost.shape)
    even = cost.repeat(size // cost.shape[0], 0).repeat(size // cost.shape[1], 1)
    rows = np.arange(size)
    return float(min(even[rows, list(way)].mean() for way in permutations(range(size))))


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 3), (3, 6), (4, 2), (5, 5)])
@pytest.mark.parametrize("cells", [0, 512])
def test_the_distance_is_that_of_the_best_plan(shape: tuple[int, int], cells: int) -> None:
    cost = costs(*shape)
    assert earth_movers_distance(cost, cells) == pytest.approx(by_permutations(cost), abs=1e-9)


@pytest.mark.parametrize("shape", [(31, 47), (20, 33), (60, 41)])
def test_thinned_out_the_distance_is_near(shape: tuple[int, int]) -> None:
    cost = costs(*shape)
    exact = earth_movers_distance(cost, 0)
    assert earth_movers_distance(cost, 512) == pytest.approx(exact, abs=2e-3)
    assert earth_movers_distance(cost, 16) == pytest.approx(exact, abs=0.05)


def test_scores_cell_by_cell() -> None:
    rng, patch, side = RNG(0), 4, 5
    masks = np.zeros((4, 20, 20), np.bool_)
    masks[0, 3:9, 2:13] = True
    masks[1, 0, 0] = True
    masks[2] = rng.random((20, 20)) < 0.1
    points = np.array([(2, 2), (6, 6), (14, 2), (10, 6), (0, 0)])
    cost = rng.random((7, side * side))
    found = score_masks(cost, masks, points, patch, 0)
    for number, mask in enumerate(masks):
        cells = [
            y * side + x
            for y, x in np.ndindex(side, side)
            if mask[y * patch : (y + 1) * patch, x * patch : (x + 1) * patch].any()
        ]
        inside = sum(bool(mask[y, x]) for x, y in points)
        assert found.purity[number] == pytest.approx(inside / max(len(cells), 1) + 1e-6)
        assert found.coverage[number] == pytest.approx(inside / 5 + 1e-6)
        compared = cost[:, cells] if cells else cost
        assert found.emd[number] == pytest.approx(1 - earth_movers_distance(compared, 0))


PLAIN = replace(MatcherSettings(), alpha=1.0, beta=0.0, least_purity=0.0)
SCORES = Scores(
    emd=np.array([0.70, 0.90, 0.88, 0.60, 0.89]),
    purity=np.array([0.5, 0.01, 0.2, 0.9, 0.3]),
    coverage=np.array([1.0, 0.1, 0.5, 0.2, 0.9]),
)


def chosen(**changes: object) -> list[int]:
    return choose(SCORES, replace(PLAIN, **changes))[0].tolist()  # type: ignore[arg-type]


def test_masks_near_the_reference_are_joined() -> None:
    # Distances 0.10, 0.11, 0.12, 0.30, 0.40; beyond the best's as shares of 0.40.
    assert chosen() == [1, 4, 2]
    assert chosen(relative_distance=0.04) == [1, 4]
    assert chosen(relative_distance=1.0) == [1, 4, 2, 0]
    assert chosen(relative_distance=1.0, distance=0.115) == [1, 4]
    assert chosen(distance=0.0) == [1]
    assert chosen(merged=2) == [1, 4]


def test_poor_masks_are_dropped_first() -> None:
    assert chosen(least_purity=0.02) == [4, 2]
    assert chosen(least_coverage=0.6, relative_distance=1.0) == [4, 0]
    assert chosen(least_emd=0.89) == [1, 4]
    assert chosen(least_purity=5.0) == [3]  # but the best stays
    # Coverage goes first: of what it leaves, the purest is 0.
    assert chosen(least_coverage=0.6, least_purity=5.0) == [0]


def test_scores_are_weighted() -> None:
    settings = replace(
        PLAIN, merge_by="share", share=0.0, merged=5, alpha=0.8, beta=0.2, exponent=1.0
    )
    total = 0.8 * SCORES.emd + 0.2 * SCORES.purity * SCORES.coverage
    kept, best = choose(SCORES, settings)
    assert kept.tolist() == np.argsort(-total).tolist()
    assert best == pytest.approx(total.max())


def test_masks_with_a_large_share_of_the_best_score() -> None:
    assert chosen(merge_by="share", share=0.7, merged=9) == [1, 4, 2, 0]
    assert chosen(merge_by="share", share=0.98) == [1, 4]
    assert chosen(merge_by="share", share=1.5) == [1]


def test_of_doubles_the_better_stays() -> None:
    masks = torch.zeros(3, 20, 20, dtype=torch.bool)
    masks[0, 2:10, 2:10] = True
    masks[1, 2:10, 2:11] = True
    masks[2, 12:18, 12:18] = True
    scores = torch.tensor([0.5, 0.9, 0.7])
    for cuts in ([3], [1, 2], [0, 2, 1]):  # in one part, or in several of which one is empty
        found = [
            Found.of(*some) for some in zip(masks.split(cuts), scores.split(cuts), strict=True)
        ]
        kept = without_doubles(found, 0.65)
        np.testing.assert_array_equal(kept, masks[[1, 2]].numpy())
        np.testing.assert_array_equal(without_doubles(found, 1.0), masks[[1, 2, 0]].numpy())


def test_cells_of_a_mask() -> None:
    mask = np.zeros((40, 60), np.bool_)
    mask[10, 29] = True  # row 2, column 3 of 8 x 8 when squashed to 64 x 64: 16, 30
    mask[9:12, 28:31] = True
    cells = touched_cells(mask, 64, 8).reshape(8, 8)
    square = mask[np.arange(64) * 40 // 64][:, np.arange(64) * 60 // 64]
    for y, x in np.ndindex(8, 8):
        assert cells[y, x] == square[y * 8 : y * 8 + 8, x * 8 : x * 8 + 8].any()
    empty = touched_cells(np.zeros((9, 9), np.bool_), 64, 8)
    assert np.flatnonzero(empty).tolist() == [4 * 8 + 4]


def test_pictures_are_squashed() -> None:
    flat = np.full((10, 90, 3), 77, np.uint8)
    assert (squash(flat, 24) == np.full((24, 24, 3), 77)).all()
