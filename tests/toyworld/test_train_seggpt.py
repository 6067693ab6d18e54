"""The miniature SegGPT's training: what it starts from, what it is shown, what it writes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import ViTModel

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.vocabulary import Exemplar
from ovbench.models import seggpt as wrapper
from ovbench.models.seggpt import SegGPT
from ovbench.models.weights.checkpoints import packaged
from ovbench.models.weights.packaged import weights_of
from ovbench.toyworld.quality import in_context
from ovbench.toyworld.scene import MIN_VISIBLE, Scene, render_scene
from ovbench.toyworld.train.__main__ import main
from ovbench.toyworld.train.roles.in_context import seggpt
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.world import NAMES, SIZE

WEIGHTS = "model.safetensors"


class KilledError(Exception):
    """Stands for whatever ends a process."""


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few scenes, batches of two pairs, quick figures."""
    monkeypatch.setattr(seggpt, "RECIPE", seggpt.RECIPE | {"scenes": 60, "pairs": 2})
    monkeypatch.setattr(seggpt, "EVALUATED", 8)


@pytest.mark.usefixtures("tiny")
def test_a_killed_run_ends_like_one_that_was_not(tmp_path: Path) -> None:
    whole = Options(tmp_path / "whole", steps=3, save_every=1)
    seggpt.train(whole)
    broken = Options(tmp_path / "broken", steps=3, save_every=1)
    lesson = seggpt.Lesson.loss

    def loss(self: seggpt.Lesson, step: int) -> torch.Tensor:
        if step == 2:
            raise KilledError
        return lesson(self, step)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KilledError):  # noqa: PT012
        patch.setattr(seggpt.Lesson, "loss", loss)
        seggpt.train(broken)
    assert torch.load(broken.output / "training-1.pt", weights_only=True)["step"] == 2
    seggpt.train(broken)
    assert (broken.output / WEIGHTS).read_bytes() == (whole.output / WEIGHTS).read_bytes()
    assert not list(broken.output.glob("*.pt"))


@pytest.mark.usefixtures("tiny")
def test_the_command_writes_what_the_wrapper_loads(tmp_path: Path) -> None:
    assert main(["seggpt", "--steps", "1", "--output", str(tmp_path)]) == 0
    model = SegGPT(wrapper.read_folder(tmp_path), (), Runtime())
    scene = render_scene(0)
    prompts = model.encode_prompts([Exemplar(scene.image, scene.label == scene.label[0, 0])])
    painted = model.paint(model.encode(scene.image), prompts, "instance")
    assert painted.shape == (seggpt.SIDE, seggpt.SIDE)
    card = json.loads((tmp_path / "card.json").read_text())
    digest = hashlib.sha256((tmp_path / WEIGHTS).read_bytes()).hexdigest()
    assert card["weights"][0]["sha256"] == digest
    assert card["recipe"]["start_sha256"] == packaged("dino").records[0].sha256
    assert card["recipe"]["model"]["merge_index"] == model._model.config.merge_index


def test_the_first_layers_are_the_encoders() -> None:
    """A picture alone gives DINO's tokens: same positions, no second half, no segment tokens."""
    folder, _ = weights_of("dino")
    dino = ViTModel.from_pretrained(folder, add_pooling_layer=False, dtype=torch.float32).eval()
    model = seggpt.build().model.eval()
    seggpt.start_from_dino(model, folder)
    pixels = torch.from_numpy(render_scene(3).image).permute(2, 0, 1)[None] / 255
    embedded = dino.embeddings(pixels)[:, 1:]  # no class token
    theirs = embedded
    mine = embedded.reshape(1, 12, 12, -1)
    for layer, block in zip(model.encoder.layers, dino.layers, strict=False):
        torch.nn.init.zeros_(layer.attention.rel_pos_h)
        torch.nn.init.zeros_(layer.attention.rel_pos_w)
        # its table of relative positions is made for the canvas; of zeros, any part will do
        layer.attention.use_relative_position_embeddings = False
        mine = layer(mine, ensemble_cond=1)[0]
        theirs = block(theirs)
    torch.testing.assert_close(mine.reshape(theirs.shape), theirs, atol=1e-4, rtol=1e-4)
    new = model.encoder.layers[-1].attention.qkv.weight.chunk(3)
    assert torch.equal(new[0], new[1])
    assert not torch.equal(new[0], new[2])
    patches = model.embeddings.patch_embeddings.projection(pixels)
    torch.testing.assert_close(patches, dino.embeddings.patch_embeddings.projection(pixels))


def test_pairs_show_one_class_in_two_scenes() -> None:
    lesson = seggpt.Lesson(seggpt.build(), SceneBank(80), Options(Path(), 1))
    rng = np.random.default_rng(0)
    classes = np.concatenate([lesson._draw_classes(rng) for _ in range(60)])
    assert set(classes) == set(range(len(NAMES)))
    assert 0.7 < (classes < 10).mean() < 0.8
    for value, having in enumerate(lesson.having):
        _, labels = lesson.bank.take(having)
        assert ((labels == value).sum(axis=(1, 2)) >= MIN_VISIBLE).all()
    indices = lesson.having[4][:2]
    images, masks = lesson._views(indices, np.array([4, 4]))
    assert images.shape == masks.shape == (2, 3, seggpt.SIDE, seggpt.SIDE)
    scene = render_scene(lesson.bank.seeds[indices[0]])
    model = SegGPT(seggpt.build(), (), Runtime())
    asked, shown = model.encode_prompts([Exemplar(scene.image, scene.label == 4)])
    # as the method shows them, but for rounding at the border
    assert ((masks[0] - shown[0]).abs() > 1e-4).float().mean() < 0.02
    assert (images[0] - asked[0]).abs().mean() < 0.02


def test_the_loss_weighs_small_objects() -> None:
    truth = -torch.ones(1, 3, 10, 10)
    truth[..., :2, :2] = 1.0
    exact = seggpt.painting_loss(truth, truth, beta=1.0)
    blank = seggpt.painting_loss(-torch.ones_like(truth), truth, beta=1.0)
    full = seggpt.painting_loss(torch.ones_like(truth), truth, beta=1.0)
    assert exact == 0
    # 4 pixels of weight sqrt(1 / 0.04) and 96 of sqrt(1 / 0.96); |error| 2 costs 2 - 1/2
    inside, outside = 4 * 0.04**-0.5, 96 * 0.96**-0.5
    torch.testing.assert_close(blank, torch.tensor(1.5 * inside / (inside + outside)))
    torch.testing.assert_close(full, torch.tensor(1.5 * outside / (inside + outside)))


def test_quality_counts_classes_that_another_scene_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = [np.full((SIZE, SIZE), value, np.uint8) for value in (14, 14, 13)]
    for label in labels[:2]:
        label[:40, :40] = 2
    labels[0][60:, 60:] = 3  # nothing else shows it, and of 13 there is one scene
    scenes = [Scene(np.zeros((SIZE, SIZE, 3), np.uint8), label) for label in labels]
    asked = []

    def paint(_: object, scene: Scene, shown: Scene, label: int) -> np.ndarray:
        asked.append((scene is not shown, label))
        painted = scene.label == label
        if label == 2:
            painted[:20] = False
        return painted

    monkeypatch.setattr(in_context, "paint", paint)
    figures = in_context.measure(None, scenes)  # type: ignore[arg-type]
    assert asked == [(True, 2), (True, 2), (True, 14), (True, 14)]
    assert figures == {"in_context_iou_things": 0.5, "in_context_iou_stuff": 1.0}
    with pytest.raises(UsageError, match="1 scenes are too few"):
        in_context.measure(None, scenes[:1])  # type: ignore[arg-type]
