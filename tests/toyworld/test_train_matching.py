"""The miniature matchers: what they are asked, their losses, and trainings that can be killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from transformers import BlipForImageTextRetrieval, BridgeTowerForImageAndTextRetrieval

from ovbench.models.weights.checkpoints import packaged
from ovbench.toyworld.scene import MIN_VISIBLE
from ovbench.toyworld.train.roles import blip, bridgetower
from ovbench.toyworld.train.roles.clip import normalize
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.teaching import matching
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.world import NAMES

CLASSES = {blip: BlipForImageTextRetrieval, bridgetower: BridgeTowerForImageAndTextRetrieval}


class KilledError(Exception):
    """Stands for whatever ends a process."""


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def some_presence(rng: np.random.Generator, count: int = 50) -> Any:
    present = rng.random((count, len(NAMES))) < 0.2
    present[:, 7] |= ~present.any(axis=1)
    present[0] = False  # everything may be hidden
    return present


def test_what_is_hidden_does_not_count_as_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = {"darkened_share": 1.0, "darkened": [1.0, 1.0], "crop_batch": 4, "whole_batch": 4}
    monkeypatch.setattr(matching, "RECIPE", matching.RECIPE | everything)
    pictures = matching.draw_pictures(SceneBank(8), np.random.default_rng(0))
    assert not pictures.pixels.any()
    assert not pictures.present.any()


def test_pictures_show_what_they_are_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "RECIPE", matching.RECIPE | {"darkened_share": 0.0})
    monkeypatch.setitem(matching.RECIPE, "crop_share", 0.0)
    monkeypatch.setitem(matching.RECIPE, "whole_batch", 8)
    bank = SceneBank(8)
    pictures = matching.draw_pictures(bank, np.random.default_rng(0))
    images, labels = bank.take(np.arange(8))
    for pixels, present in zip(pictures.pixels, pictures.present, strict=True):
        (same,) = np.flatnonzero((images == pixels).all(axis=(1, 2, 3)))
        assert present.tolist() == [(labels[same] == i).sum() >= MIN_VISIBLE for i in range(15)]


def test_one_class_is_asked_for_truly_and_falsely(rng: np.random.Generator) -> None:
    present = some_presence(rng)
    questions = matching.ask_for_one(present, rng)
    for i, (text, true) in enumerate(
        zip(questions.texts, questions.true.flatten().tolist(), strict=True)
    ):
        (named,) = [n for n, name in enumerate(NAMES) if name in text.replace(".", "").split()]
        assert bool(true) == present[i // 2, named]
    assert questions.true[1:].sum(dim=1).eq(1).all()
    assert not questions.true[0].any()


def test_a_caption_and_its_swapped_twin_differ_by_one_class(rng: np.random.Generator) -> None:
    present = some_presence(rng)
    questions = matching.ask_for_all(present, rng)
    assert not questions.true[0].any()
    assert torch.equal(questions.true[1:], torch.tensor([[1.0, 0.0]]).expand(49, 2))
    for right, wrong, row in zip(
        questions.texts[2::2], questions.texts[3::2], present[1:], strict=True
    ):
        (pair,) = {
            (a.strip(".,"), b.strip(".,"))
            for a, b in zip(right.split(), wrong.split(), strict=True)
            if a != b
        }
        assert row[NAMES.index(pair[0])]
        assert not row[NAMES.index(pair[1])]


def test_lists_say_what_they_list(rng: np.random.Generator) -> None:
    present = some_presence(rng)
    lists = matching.draw_lists(present, rng)
    for i, (text, classes) in enumerate(zip(lists.texts, lists.classes.tolist(), strict=True)):
        names = text.removeprefix("a picture of ").split()
        assert [NAMES[c] for c in classes if c >= 0] == names
        seen = sum(present[i // 2, c] for c in classes if c >= 0)
        assert lists.right.flatten()[i] == seen


def test_the_better_list_must_win_and_ties_do_not_count() -> None:
    right = torch.tensor([[1, 3], [2, 2], [4, 0]])
    good = torch.tensor([-9.0, 9.0, 5.0, -5.0, 9.0, -9.0])
    assert matching.ranking_loss(good, right) < 1e-6
    assert matching.ranking_loss(-good, right) == pytest.approx(2 * 18 / 3, rel=1e-4)


def test_presence_is_asked_for_listed_classes_alone() -> None:
    classes = torch.full((2, len(NAMES)), -1)
    classes[0, :2] = torch.tensor([3, 5])
    classes[1, :1] = torch.tensor([5])
    present = np.zeros((1, len(NAMES)), bool)
    present[0, 3] = True
    scores = torch.zeros(2, len(NAMES))
    scores[0, :2] = torch.tensor([2.0, -1.0])
    expected = np.log1p(np.exp(-2)) + np.log1p(np.exp(-1)) + np.log(2)
    loss = matching.presence_loss(scores, classes, present)
    assert loss.item() == pytest.approx(expected / 3)


def clip_tower() -> Any:
    return open_clip.create_model(f"local-dir:{packaged('clip').path}").visual.eval()


@torch.no_grad()
def test_a_whole_scene_is_encoded_as_blip_does() -> None:
    model = blip.build(30).eval()
    blip.start_from_clip(model.vision_model, clip_tower())
    pixels = normalize(SceneBank(2).take(np.arange(2))[0])
    learner = blip.BlipLearner(model)
    expected = model.vision_model(pixels).last_hidden_state
    assert torch.equal(learner.encode(pixels, (0, 0)), expected)
    assert learner.encode(pixels[..., 16:64, 40:88], (2, 5)).shape == (2, 37, 128)


@torch.no_grad()
def test_bridgetower_begins_where_clip_does() -> None:
    """Up to the first block, which has other heads, the two towers are the same."""
    visual, pixels = clip_tower(), normalize(SceneBank(2).take(np.arange(2))[0])
    model = bridgetower.build(30).eval()
    tower = model.bridgetower.vision_model.visual
    bridgetower.start_from_clip(tower, visual)
    entering: list[torch.Tensor] = []
    visual.transformer.resblocks[0].register_forward_pre_hook(
        lambda _, inputs: entering.append(inputs[0])
    )
    visual(pixels)
    assert torch.allclose(tower.forward_pre(pixels).transpose(0, 1), entering[0], atol=1e-5)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """The gradients of convolutions are summed in another order by several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("role", CLASSES, ids=lambda role: role.__name__.rpartition(".")[2])
def test_a_killed_run_ends_like_one_that_was_not(
    role: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"scenes": 40, "crop_batch": 4, "whole_batch": 2}
    for name, value in small.items():
        monkeypatch.setitem(matching.RECIPE, name, value)
    monkeypatch.setattr(matching, "EVALUATED", 2)
    monkeypatch.setattr("ovbench.toyworld.quality.matching.CHOOSING_SCENES", 2)
    role.train(Options(tmp_path / "whole", steps=4, save_every=1))
    broken = Options(tmp_path / "broken", steps=4, save_every=1)
    lesson = matching.Lesson.loss

    def loss(self: matching.Lesson, step: int) -> torch.Tensor:
        if step == 2:
            raise KilledError
        return lesson(self, step)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KilledError):  # noqa: PT012
        patch.setattr(matching.Lesson, "loss", loss)
        role.train(broken)
    role.train(broken)
    weights = [tmp_path / run / "model.safetensors" for run in ("whole", "broken")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert not list(broken.output.glob("*.pt"))
    CLASSES[role].from_pretrained(tmp_path / "whole")  # type: ignore[attr-defined]
