"""The training of TCL's miniature masker: what it starts from, what it is told, what it writes."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from ovbench.harness.contract.runtime import Runtime
from ovbench.models.clip.last_block import attend, values_alone
from ovbench.models.clip.masker import Masker, load_masker, read_network
from ovbench.models.clip.model import CLIP, load_clip
from ovbench.models.weights.packaged import weights_of
from ovbench.toyworld.quality.inputs import imagenet_pixels
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.train.__main__ import main
from ovbench.toyworld.train.roles import tcl
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.train.teaching.views import presence
from ovbench.toyworld.world import SIZE

WEIGHTS = "model.safetensors"


class KilledError(Exception):
    """Stands for whatever ends a process."""


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few scenes, batches of a few pictures, quick figures."""
    small = {"scenes": 10, "batch": 3, "cut_out": 2, "scored_on": 2}
    monkeypatch.setattr(tcl, "RECIPE", tcl.RECIPE | small)
    monkeypatch.setattr(tcl, "EVALUATED", 2)


@pytest.fixture(scope="module")
def clip() -> CLIP:
    return load_clip("ViT-B-16", "openai", Runtime(checkpoints="toy"))


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_a_killed_run_ends_like_one_that_was_not(tmp_path: Path) -> None:
    whole = Options(tmp_path / "whole", steps=3, save_every=1)
    tcl.train(whole)
    broken = Options(tmp_path / "broken", steps=3, save_every=1)
    lesson = tcl.Lesson.loss

    def loss(self: tcl.Lesson, step: int) -> torch.Tensor:
        if step == 2:
            raise KilledError
        return lesson(self, step)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KilledError):  # noqa: PT012
        patch.setattr(tcl.Lesson, "loss", loss)
        tcl.train(broken)
    assert torch.load(broken.output / "training-1.pt", weights_only=True)["step"] == 2
    tcl.train(broken)
    assert (broken.output / WEIGHTS).read_bytes() == (whole.output / WEIGHTS).read_bytes()
    assert not list(broken.output.glob("*.pt"))


@pytest.mark.usefixtures("tiny")
def test_the_command_writes_what_the_loader_reads(tmp_path: Path, clip: CLIP) -> None:
    assert main(["tcl", "--steps", "1", "--output", str(tmp_path)]) == 0
    masker = Masker(read_network(tmp_path, clip), (), Runtime())
    found = masker.embed(clip.trunk(imagenet_pixels(render_scene(0).image[None], SIZE)))
    assert found.shape == (1, 64, 24, 24)
    card = json.loads((tmp_path / "card.json").read_text())
    digest = hashlib.sha256((tmp_path / WEIGHTS).read_bytes()).hexdigest()
    assert card["weights"][0]["sha256"] == digest
    assert card["recipe"]["clip_sha256"] == clip.checkpoint.sha256


def test_the_shipped_checkpoint_is_the_one_its_card_describes(clip: CLIP) -> None:
    folder, (file,) = weights_of("tcl")
    card = json.loads((folder / "card.json").read_text())
    assert card["weights"][0]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert card["recipe"]["clip_sha256"] == clip.checkpoint.sha256  # it fits no other
    masker = load_masker("tcl_vitb16", clip, Runtime(checkpoints="toy"))
    assert [record.name for record in masker.checkpoints] == ["toyworld/tcl"]


def test_it_starts_as_clip_s_last_block(clip: CLIP) -> None:
    trunk = clip.trunk(imagenet_pixels(render_scene(2).image[None], SIZE))
    found = Masker(tcl.build(clip), (), Runtime()).embed(trunk)
    own, _ = attend(trunk, values_alone, residual=True, mlp=True)
    torch.testing.assert_close(found, F.interpolate(own, scale_factor=2), atol=1e-4, rtol=1e-4)


def test_a_window_shows_what_it_is_said_to_show(
    clip: CLIP, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcl, "RECIPE", tcl.RECIPE | {"batch": 4})
    bank = SceneBank(6)
    lesson = tcl.Lesson(tcl.build(clip), clip, bank, Options(Path(), 1))
    indices = np.array([4, 0, 5])
    trunk, images, present = lesson._window(indices, 1, np.random.default_rng(0))
    taken, labels = bank.take(indices)
    np.testing.assert_array_equal(images, taken)
    np.testing.assert_array_equal(present, presence(labels))
    whole = clip.trunk(imagenet_pixels(taken, SIZE)).tokens
    torch.testing.assert_close(trunk.tokens, whole, atol=2e-2, rtol=1e-2)  # kept in half precision
    rng = np.random.default_rng(3)
    row, column = np.random.default_rng(3).integers(13, size=2)
    trunk, _, present = lesson._window(indices, 2, rng)
    cut = labels[:, row * 4 : row * 4 + 48, column * 4 : column * 4 + 48]
    np.testing.assert_array_equal(present, presence(np.ascontiguousarray(cut)))
    enlarged = clip.trunk(imagenet_pixels(taken, 2 * SIZE)).tokens[:, 1:].unflatten(1, (24, 24))
    here = enlarged[:, row : row + 12, column : column + 12].flatten(1, 2)
    torch.testing.assert_close(trunk.tokens[:, 1:], here, atol=2e-2, rtol=1e-2)


def test_clip_names_what_a_true_mask_cuts_out(clip: CLIP) -> None:
    lesson = tcl.Lesson.__new__(tcl.Lesson)
    lesson.clip, lesson.options, lesson.scale = clip, Options(Path(), 1), clip.logit_scale
    bank = SceneBank(12)
    images, labels = bank.take(np.arange(12))
    texts = clip.embed_queries(tcl.NAMES, ("a photo of a {}.",)).clone()
    asked = torch.tensor([int(np.flatnonzero(row)[0]) for row in presence(labels)])
    masks = torch.from_numpy(labels[:, 2::4, 2::4]) == asked[:, None, None]
    logits = torch.zeros(12, len(tcl.NAMES), 24, 24, requires_grad=True)
    sure = torch.where(masks, 20.0, -20.0)
    right, wrong = (
        lesson._picture_loss(logits + sign * sure[:, None], images, texts, asked)
        for sign in (1, -1)
    )
    assert right < wrong
    right.backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_losses_prefer_the_truth() -> None:
    there, texts = torch.eye(2).bool(), torch.eye(2, 3)
    places = torch.zeros(2, 3, 2, 2)
    for picture in range(2):  # what a picture shows is on the left, something else on the right
        places[picture, picture, :, 0] = places[picture, 2, :, 1] = 1.0
    masks = torch.full((2, 2, 2, 2), 0.1)
    masks[there] = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    right = tcl.region_loss(masks, places, texts, there, scale=20.0)
    wrong = tcl.region_loss(masks.flip(3), places, texts, there, scale=20.0)
    assert right < 1e-3
    assert wrong == pytest.approx(math.log(2))  # as near to the text as what is not there
    assert tcl.area_loss(masks, there, share=0.2) == pytest.approx((0.5 - 0.2) + 0.1)
    even = torch.zeros(1, 4, 4)
    assert tcl.smoothness_loss(even) == 0
    even[0, :, 2:] = 1.0
    assert tcl.smoothness_loss(even) == pytest.approx(1 / 3)
