"""Matcher against the masks of the released code on the miniatures' weights.

Both draw prompts at random, so the prompts drawn there are asked here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from agreement import DATA, require_equal
from showing import vocabulary_of

from ovbench.adapters import matcher as module
from ovbench.adapters.matcher.drawing import ALL_OF, Points
from ovbench.adapters.matcher.drawing import prompt_sets as all_sets
from ovbench.adapters.matcher.ranking import score_masks
from ovbench.harness.contract.vocabulary import Exemplar
from ovbench.harness.registry.methods import load_method
from ovbench.toyworld.scene import render_scene

Stored = Mapping[str, npt.NDArray[Any]]

SIDE, PATCH = 96, 8
CELLS = (SIDE // PATCH) ** 2

EMD = 0.003
"""Largest difference of an earth mover's score: ``emd_cells`` thins sets out, the code does not."""


@pytest.fixture(scope="module")
def stored() -> Stored:
    with np.load(DATA / "matcher.npz") as file:
        return dict(file)


def test_one_whole_object(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    compare(stored, monkeypatch, "fss", {}, range(18, 20))


def test_a_part(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    compare(stored, monkeypatch, "part", {}, range(1))


def test_a_grid_of_16_points_a_side(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    compare(stored, monkeypatch, "coco_16", {"grid": 16}, range(1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"),
    [("coco_16", {"grid": 16}), ("fss", {})],
)
def test_every_scene(
    stored: Stored, monkeypatch: pytest.MonkeyPatch, name: str, settings: dict[str, Any]
) -> None:
    compare(stored, monkeypatch, name, settings, range(24))


def compare(
    stored: Stored,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    settings: dict[str, Any],
    rows: range,
) -> None:
    """Hold a preset to what the code answered."""
    preset = name.partition("_")[0]
    method = load_method(
        "matcher", preset=preset, settings=settings, device="cpu", checkpoints="toy"
    )
    found, expected = [], []
    for row in rows:
        height, label = int(stored["heights"][row]), int(stored["classes"][row])
        scene = render_scene(int(stored["prompts"][row]))
        shown = Exemplar(scene.image[:height], scene.label[:height] == label)
        scores = ask_what_was_asked(stored, monkeypatch, name, row)
        method.segmenter.prepare(vocabulary_of(label, shown))
        image = render_scene(int(stored["scenes"][row])).image[:height]
        found.append(method.segmenter.segment([image])[0] == 1)
        expected.append(np.unpackbits(stored[f"masks_{name}"][row], axis=-1)[:height] == 1)
        points, emd = scores()
        of_matches = np.zeros(CELLS, np.uint8)
        of_matches[points[:, 1] // PATCH * (SIDE // PATCH) + points[:, 0] // PATCH] = 1
        np.testing.assert_array_equal(np.packbits(of_matches), stored["matched"][row])
        if f"emd_{name}_{row}" in stored:
            there = stored[f"emd_{name}_{row}"]
            np.testing.assert_allclose(np.sort(emd), there, rtol=0, atol=EMD)
    require_equal(found, expected)


def ask_what_was_asked(
    stored: Stored, monkeypatch: pytest.MonkeyPatch, name: str, row: int
) -> Callable[[], Any]:
    """Put the code's choices in the place of random ones.

    Returns:
        After the picture was answered: the matched points, and the masks' earth mover's scores.
    """
    kept: dict[str, Any] = {}

    def centres_there(points: Points, clusters: int, _: Any) -> Points:
        there = stored[f"centres_{name}"][row, : min(clusters, len(points))]
        return there.astype(np.float64)

    def sets_there(points: Points, fewest: int, most: int, samples: int, rng: Any) -> list[Points]:
        if len(points) <= ALL_OF:
            return all_sets(points, fewest, most, samples, rng)
        numbers = range(fewest, most + 1)
        cuts = np.cumsum([number * samples for number in numbers])[:-1]
        parts = np.split(stored[f"drawn_{name}"][row].astype(np.intp), cuts)
        y, x = np.divmod(np.arange(CELLS), SIDE // PATCH)
        middles = np.stack([x, y], axis=1) * float(PATCH) + PATCH // 2
        return [middles[part.reshape(samples, -1)] for part in parts]

    def scored(cost: Any, masks: Any, points: Any, *rest: Any) -> Any:
        scores = score_masks(cost, masks, points, *rest)
        kept["points"], kept["emd"] = points, scores.emd
        return scores

    monkeypatch.setattr(module, "cluster_centres", centres_there)
    monkeypatch.setattr(module, "prompt_sets", sets_there)
    monkeypatch.setattr(module, "score_masks", scored)
    return lambda: (kept["points"], kept["emd"])
