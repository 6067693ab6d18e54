"""Training of the miniature RADIO: its start, lesson and files, and what is shipped."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ovbench.harness.contract.runtime import Runtime
from ovbench.models.clip.model import load_clip
from ovbench.models.patches.encoder import load_patch_encoder
from ovbench.models.radio.folder import read_folder
from ovbench.models.radio.model import SAM, TEACHERS, TEXT, Radio, load_radio
from ovbench.models.sam.model import load_sam
from ovbench.models.weights.checkpoints import packaged
from ovbench.toyworld.quality import distilled
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.train.__main__ import main
from ovbench.toyworld.train.roles import radio
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.world import NAMES, SIZE, SPLITS

TOY = Runtime(checkpoints="toy")


@pytest.fixture(scope="module")
def teachers() -> radio.Teachers:
    return radio.Teachers(
        load_clip("ViT-B-16", "openai", TOY),
        load_patch_encoder("dinov2", "dinov2_base", TOY),
        load_sam("sam_vit_b", TOY),
    )


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"scenes": 8, "windows_batch": 4, "target_side": SIZE, "warmup": 1}
    monkeypatch.setattr(radio, "RECIPE", radio.RECIPE | small)
    monkeypatch.setattr(radio, "HIDDEN", 16)
    monkeypatch.setattr(radio, "EVALUATED", 2)


@torch.no_grad()
def test_the_student_starts_as_dinov2(
    teachers: radio.Teachers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(radio, "MODEL", radio.MODEL | {"num_registers": 0})
    trunk = radio.build(teachers).trunk
    pixels = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    found = trunk.encoder(trunk.embeddings(pixels)).last_hidden_state[:, 1:]
    expected = teachers.dino.features(pixels).flatten(2).mT
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    learning = {name for name, one in trunk.named_parameters() if one.requires_grad}
    assert not any("layer_scale" in name for name in learning)


@pytest.mark.usefixtures("tiny")
def test_the_command_writes_what_the_loader_reads(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert main(["radio", "--steps", "2", "--output", str(whole)]) == 0
    found = Radio(read_folder(whole, TEACHERS), (), Runtime())
    assert (found.width_of(TEXT), found.width_of(SAM), found.patch_size) == (64, 128, 8)
    assert found.mean == pytest.approx(radio.MODEL["norm_mean"])
    card = json.loads((whole / "card.json").read_text())
    assert card["recipe"]["teachers_sha256"]["sam"] == packaged("sam").records[0].sha256
    assert list(card["metrics"])[-1] == "sam_cosine"
    assert not list(whole.glob("*.pt"))

    class KilledError(Exception):
        """Stands for whatever ends a process."""

    lesson = radio.Lesson.loss

    def loss(self: radio.Lesson, step: int) -> Tensor:
        if step == 1:
            raise KilledError
        return lesson(self, step)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KilledError):  # noqa: PT012
        patch.setattr(radio.Lesson, "loss", loss)
        radio.train(Options(broken, steps=2, save_every=1))
    radio.train(Options(broken, steps=2, save_every=1))
    name = "model.safetensors"
    assert (broken / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.usefixtures("tiny")
@torch.no_grad()
def test_what_sam_is_taught_in_its_scale_is_exported_in_sams(
    teachers: radio.Teachers, tmp_path: Path
) -> None:
    student = radio.build(teachers)
    mean, std = torch.randn(128), torch.rand(128) + 0.5
    radio.export(student, (mean, std), tmp_path)
    features = torch.randn(1, 128, 3, 3)
    learned = student.heads[SAM](features.movedim(1, -1)) * std + mean
    found = Radio(read_folder(tmp_path, TEACHERS), (), Runtime()).mapped(features, SAM)
    torch.testing.assert_close(found.movedim(1, -1), learned, atol=5e-3, rtol=5e-3)


class Told(Radio):
    """Places are the texts of the labels that a picture's red channel names."""

    def __init__(self, texts: Tensor) -> None:
        self._texts, self.device = texts, torch.device("cpu")
        self.mean, self.std = [0.0] * 3, [1 / 255] * 3

    def features(self, images: Tensor, mixing: object = None) -> Tensor:
        """As :class:`Radio`."""
        shrunk = functional.interpolate(images, (SIZE, SIZE), mode="bicubic")
        return self._texts[shrunk[:, 0].round().long().clamp(0, 14)].permute(0, 3, 1, 2)

    def mapped(self, features: Tensor, head: str) -> Tensor:
        """As :class:`Radio`."""
        assert head == TEXT
        return features


def test_a_model_that_knows_is_always_right(teachers: radio.Teachers) -> None:
    texts = teachers.clip.embed_queries(NAMES, distilled.TEMPLATES)
    labels = np.stack([render_scene(seed).label for seed in SPLITS["val"][:3]])
    images = np.repeat(labels[..., None], 3, axis=3)
    found = distilled.name_places(Told(texts), teachers.clip, images, SIZE)
    assert (found == labels).all()
    wrong = distilled.name_places(Told(texts.roll(1, dims=0)), teachers.clip, images, SIZE)
    assert (wrong != labels).all()


def test_the_shipped_weights_are_those_of_their_card(teachers: radio.Teachers) -> None:
    folder = packaged("radio").path
    card = json.loads((folder / "card.json").read_text())
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert [one["sha256"] for one in card["weights"]] == [digest]
    for role, record in card["recipe"]["teachers_sha256"].items():
        assert record == packaged(role).records[0].sha256
    scenes = [render_scene(seed) for seed in SPLITS["test"][:4]]
    model = load_radio("c_radio_v3_b", 64, TOY)
    found = distilled.measure(model, teachers.clip, teachers.sam, scenes)
    assert found["miou_15_192px"] > 30  # of four scenes; the floor is held on many
    assert found["sam_cosine"] > 0.7
