"""Training of the miniature LSeg: its lesson, files and figures, and what is shipped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ovbench.harness.contract.runtime import Runtime
from ovbench.models.clip.model import load_clip
from ovbench.models.pixelwise.lseg import LSeg, load_lseg, read_folder
from ovbench.models.weights.checkpoints import Located
from ovbench.models.weights.packaged import weights_of
from ovbench.toyworld.quality import pixelwise
from ovbench.toyworld.scene import Scene, render_scene
from ovbench.toyworld.train.__main__ import main
from ovbench.toyworld.train.roles import lseg
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.world import NAMES, SIZE, SPLITS

TOY = Runtime(checkpoints="toy")


class KilledError(Exception):
    """Stands for whatever ends a process."""


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"scenes": 8, "sides": [32], "patches": 64, "warmup": 1}
    monkeypatch.setattr(lseg, "RECIPE", lseg.RECIPE | small)
    monkeypatch.setattr(lseg, "MODEL", {"channels": (4, 4, 4, 4), "fused": 8})
    monkeypatch.setattr(lseg, "SIDE", 32)
    monkeypatch.setattr(lseg, "EVALUATED", 2)


@pytest.mark.usefixtures("tiny")
def test_a_killed_run_ends_like_one_that_was_not(tmp_path: Path) -> None:
    whole = Options(tmp_path / "whole", steps=4, save_every=1)
    lseg.train(whole)
    broken = Options(tmp_path / "broken", steps=4, save_every=1)
    lesson = lseg.Lesson.loss

    def loss(self: lseg.Lesson, step: int) -> Tensor:
        if step == 2:
            raise KilledError
        return lesson(self, step)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KilledError):  # noqa: PT012
        patch.setattr(lseg.Lesson, "loss", loss)
        lseg.train(broken)
    lseg.train(broken)
    name = "model.safetensors"
    assert (broken.output / name).read_bytes() == (whole.output / name).read_bytes()
    assert not list(broken.output.glob("*.pt"))


@pytest.mark.usefixtures("tiny")
def test_the_command_writes_what_the_loader_reads(tmp_path: Path) -> None:
    assert main(["lseg", "--steps", "2", "--output", str(tmp_path)]) == 0
    found = read_folder(Located(tmp_path, ()), TOY)
    assert (found.side, found.multiple, found.joint) == (32, 16, 64)
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["recipe"]["encoder_sha256"] == found.checkpoints[0].sha256
    assert list(card["metrics"]) == ["validation_scenes", "miou_15_32px"]
    neck = found._neck.state_dict()
    assert neck["levels.0.project.weight"].shape == (4, 128, 1, 1)
    assert neck["levels.3.joined.bn1.num_batches_tracked"] == 2


class Told(LSeg):
    """Vectors are the texts of the labels that a picture's red channel names."""

    def __init__(self, texts: Tensor) -> None:
        self._texts, self.side, self.device = texts, SIZE, torch.device("cpu")

    def embed(self, images: Tensor) -> Tensor:
        """As :class:`LSeg`."""
        red = (images[:, 0] * 0.229 + 0.485) * 255
        return self._texts[red.round().long()].permute(0, 3, 1, 2)


def test_a_model_that_knows_is_always_right() -> None:
    texts = torch.eye(len(NAMES))
    scenes = []
    for seed in SPLITS["val"][:12]:
        label = render_scene(seed).label
        scenes.append(Scene(np.repeat(label[..., None], 3, axis=2), label))
    assert {int(label) for scene in scenes for label in np.unique(scene.label)} == {*range(15)}
    assert pixelwise.measure(Told(texts), texts, scenes) == {f"miou_15_{SIZE}px": 100.0}
    wrong = pixelwise.measure(Told(texts.roll(1, dims=0)), texts, scenes)
    assert wrong[f"miou_15_{SIZE}px"] < 1


def test_the_shipped_model_tells_classes_apart() -> None:
    model = load_lseg("lseg_demo_e200", TOY)
    clip = load_clip("ViT-B-32", "openai", TOY)
    texts = clip.embed_queries(NAMES, pixelwise.TEMPLATES)
    scenes = [render_scene(seed) for seed in SPLITS["val"][:20]]
    (found,) = pixelwise.measure(model, texts, scenes).values()
    assert found > 50
    encoder, own = model.checkpoints
    card = json.loads((weights_of("lseg")[0] / "card.json").read_text())
    assert card["weights"][0]["sha256"] == own.sha256
    assert card["recipe"]["encoder_sha256"] == encoder.sha256
