"""The miniatures reach what they must, and a miss is reported."""

from __future__ import annotations

import json

import pytest

from ovbench.models.weights.packaged import roles, weights_of
from ovbench.toyworld.evaluate import __main__ as evaluate
from ovbench.toyworld.evaluate.floors import FLOORS, measure
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.world import SPLITS

MEGABYTE = 1_000_000


def test_a_missed_floor_is_marked_and_is_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = {"itm_accuracy": 0.89, "itm_ranking": 0.99}
    monkeypatch.setattr(evaluate, "measure", lambda role, scenes: figures)
    assert evaluate.main(["blip", "--scenes", "1"]) == 3
    assert "0.9 missed" in capsys.readouterr().out
    figures["itm_accuracy"] = 0.9
    assert evaluate.main(["blip", "--scenes", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"blip": figures}


def test_figures_are_measured_on_test_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(evaluate, "measure", lambda role, scenes: seen.append(scenes) or {})
    monkeypatch.setattr(evaluate, "FLOORS", {"sam": {}})
    assert evaluate.main(["--scenes", "2"]) == 0
    expected = [render_scene(seed).image for seed in SPLITS["test"][:2]]
    assert all((a.image == b).all() for a, b in zip(seen[0], expected, strict=True))


def test_an_unknown_miniature_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        evaluate.main(["sma"])
    assert stopped.value.code == 2
    assert "no miniature 'sma'; there are: clip, blip" in capsys.readouterr().err


def test_every_miniature_has_floors_and_all_together_are_small() -> None:
    judge = {"classifier"}  # of generated pictures; it is used by no method
    archive = {"reco"}  # pictures, which reach nothing
    assert set(roles()) == set(FLOORS) | judge | archive
    files = [file for role in roles() for file in weights_of(role)[1]]
    assert sum(file.stat().st_size for file in files) < 60 * MEGABYTE


@pytest.mark.slow
@pytest.mark.parametrize("role", FLOORS)
def test_a_miniature_reaches_its_floors(role: str) -> None:
    scenes = [render_scene(seed) for seed in SPLITS["test"][:50]]
    figures = measure(role, scenes)
    assert not evaluate.missed({role: figures}), figures
