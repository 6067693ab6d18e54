"""The judge of generated pictures: its training, its verdicts, and what is measured with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from ovbench.harness.contract.runtime import CheckpointRecord
from ovbench.models.diffusion.model import Diffusion, Generated, Request
from ovbench.models.diffusion.sampling import Sampling
from ovbench.toyworld.quality import generation, recognition
from ovbench.toyworld.quality.recognition import Judge, Labeller, load_judge, main_things
from ovbench.toyworld.scene import Scene, render_scene
from ovbench.toyworld.train.roles import classifier
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.world import NAMES, SIZE, SPLITS, THINGS


class KilledError(Exception):
    """Stands for whatever ends a process."""


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few scenes, batches of four pictures, quick figures."""
    small = {"scenes": 16, "crop_batch": 4, "whole_batch": 4}
    monkeypatch.setattr(classifier, "RECIPE", classifier.RECIPE | small)
    monkeypatch.setattr(classifier, "MODEL", {"widths": [8, 16]})
    monkeypatch.setattr(classifier, "EVALUATED", 6)


@pytest.mark.usefixtures("tiny")
def test_a_killed_run_ends_like_one_that_was_not(tmp_path: Path) -> None:
    whole = Options(tmp_path / "whole", steps=6, save_every=1)
    classifier.train(whole)
    broken = Options(tmp_path / "broken", steps=6, save_every=1)
    lesson = classifier.Lesson.loss

    def loss(self: classifier.Lesson, step: int) -> Tensor:
        if step == 3:
            raise KilledError
        return lesson(self, step)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KilledError):  # noqa: PT012
        patch.setattr(classifier.Lesson, "loss", loss)
        classifier.train(broken)
    classifier.train(broken)
    files = [options.output / "model.safetensors" for options in (whole, broken)]
    assert files[0].read_bytes() == files[1].read_bytes()
    card = json.loads((whole.output / "card.json").read_text())
    assert card["role"] == "classifier"
    assert card["recipe"]["widths"] == [8, 16]
    assert 0 <= card["metrics"]["thing_accuracy"] <= 1
    assert not list(whole.output.glob("training-*"))


@pytest.mark.usefixtures("tiny")
def test_training_lowers_the_loss(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Labeller([8, 16])
    lesson = classifier.Lesson(network, SceneBank(16), Options(tmp_path, steps=40))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    losses = []
    for step in range(40):
        optimizer.zero_grad()
        loss = lesson.loss(step)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_spoiled_pictures_are_smoother_and_stay_in_range() -> None:
    noise = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    spoiled = [classifier.spoil(noise, np.random.default_rng(seed)) for seed in range(20)]
    assert all(one.shape == noise.shape and one.abs().max() <= 1 for one in spoiled)
    assert torch.equal(spoiled[3], classifier.spoil(noise, np.random.default_rng(3)))
    steps = [float((one[..., 1:] - one[..., :-1]).abs().mean()) for one in spoiled]
    assert min(steps) < 0.3 * max(steps)


@pytest.mark.parametrize("side", [96, 64, 50])
def test_every_pixel_of_any_picture_has_probabilities(side: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, side, side + 6, 3), np.uint8)
    judge = Judge(Labeller([8, 16, 24]))
    probabilities = judge.probabilities(images)
    assert probabilities.shape == (3, len(NAMES), side, side + 6)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(3, side, side + 6))
    torch.testing.assert_close(judge.probabilities(images[1:2]), probabilities[1:2])


class Oracle(Judge):
    """Knows the label maps of the pictures it is shown, up to a pixel's colour."""

    def __init__(self, labels: Sequence[npt.NDArray[np.uint8]]) -> None:
        self.labels = np.stack(labels)

    def probabilities(self, images: npt.NDArray[np.uint8]) -> Tensor:
        assert len(images) == len(self.labels)
        found = torch.nn.functional.one_hot(torch.from_numpy(self.labels).long(), len(NAMES))
        return found.permute(0, 3, 1, 2).float()


def test_a_judge_that_is_always_right_measures_so() -> None:
    scenes = [render_scene(seed) for seed in SPLITS["val"][:30]]
    labels = [scene.label for scene in scenes]
    figures = recognition.measure(Oracle(labels), scenes)
    singles = sum(len(set(scene.present) & set(THINGS)) == 1 for scene in scenes)
    assert figures.pop("single_scenes") == singles
    assert figures == {"thing_accuracy": 1, "pixel_accuracy": 1, "thing_iou": pytest.approx(1)}


def test_a_judge_that_names_the_next_class_measures_so() -> None:
    label = np.full((2, SIZE, SIZE), NAMES.index("sky"), np.uint8)
    label[:, :48] = 0  # half of the picture is the first thing
    scenes = [Scene(np.zeros((SIZE, SIZE, 3), np.uint8), one) for one in label]
    wrong = np.where(label == 0, 1, label).astype(np.uint8)
    wrong[1] = label[1]
    figures = recognition.measure(Oracle(list(wrong)), scenes)
    assert figures["thing_accuracy"] == 0.5
    assert figures["pixel_accuracy"] == 0.75
    assert figures["thing_iou"] == pytest.approx(0.5 / len(THINGS))


def test_stuff_is_never_what_a_picture_shows() -> None:
    probabilities = torch.zeros(1, len(NAMES), 4, 4)
    probabilities[:, NAMES.index("sky")] = 0.9
    probabilities[:, THINGS.index("ring")] = 0.02
    probabilities[:, THINGS.index("star")] = 0.08
    assert main_things(probabilities).tolist() == [THINGS.index("star")]


class Painter(Diffusion):
    """Paints nothing, and points at the upper left quarter."""

    def __init__(self) -> None:
        self.checkpoints: tuple[CheckpointRecord, ...] = ()
        self.requests: list[Request] = []

    def generate(self, requests: Sequence[Request], sampling: Sampling, **_: object) -> Generated:
        self.requests += requests
        maps = torch.full((len(requests), 24, 24), 0.1)
        maps[:, :12, :12] = 0.6
        return Generated(np.zeros((len(requests), SIZE, SIZE, 3), np.uint8), maps)


def drawn(things: Sequence[int], rows: int) -> list[npt.NDArray[np.uint8]]:
    """Label maps with a thing in the left half of the first ``rows`` rows."""
    labels = np.full((len(things), SIZE, SIZE), NAMES.index("sky"), np.uint8)
    for label, thing in zip(labels, things, strict=True):
        label[:rows, : SIZE // 2] = thing
    return list(labels)


def test_recognition_and_attention_of_generated_pictures() -> None:
    asked = [thing for thing in range(len(THINGS)) for _ in range(2)]
    shown = [0, 1, *asked[2:]]  # the second picture shows the wrong thing
    painter = Painter()
    figures = generation.measure(painter, Oracle(drawn(shown, rows=96)), per_class=2, seed=7)
    assert figures["recognised"] == 0.95
    # Half of each object is pointed at; interpolation softens the border.
    assert figures["attention_iou"] == pytest.approx(0.5, abs=0.03)
    assert [request.seed for request in painter.requests] == list(range(7, 27))
    assert painter.requests[2].prompt == f"a photo of a {THINGS[1]}"
    assert painter.requests[2].name == THINGS[1]


def test_attention_exactly_on_the_object_is_found_by_some_threshold() -> None:
    figures = generation.measure(Painter(), Oracle(drawn(range(len(THINGS)), rows=48)), per_class=1)
    assert figures["recognised"] == 1
    assert figures["attention_iou"] > 0.95


def test_pictures_that_show_nothing_asked_for_have_no_attention_to_measure() -> None:
    labels = drawn([(thing + 1) % len(THINGS) for thing in range(len(THINGS))], rows=48)
    figures = generation.measure(Painter(), Oracle(labels), per_class=1)
    assert figures["recognised"] == 0
    assert figures["attention_iou"] == 0


def test_the_packaged_judge_can_be_trusted() -> None:
    scenes = [render_scene(seed) for seed in SPLITS["val"][:40]]
    figures = recognition.measure(load_judge(), scenes)
    assert figures["pixel_accuracy"] > 0.95
    assert figures["thing_accuracy"] > 0.9
