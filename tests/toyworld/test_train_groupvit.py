"""The miniature GroupViT's training: what it starts from, what it is told, what it writes."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from ovbench.harness.contract.runtime import Runtime
from ovbench.models.clip.model import CLIP, load_clip
from ovbench.models.clip.trunk import embed
from ovbench.models.grouping.groupvit import grouped, load_folder, load_groupvit
from ovbench.models.pixels.inputs import IMAGENET_MEAN, IMAGENET_STD
from ovbench.models.weights.packaged import weights_of
from ovbench.toyworld.quality import grouping
from ovbench.toyworld.quality.inputs import imagenet_pixels
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.train.__main__ import main
from ovbench.toyworld.train.roles import groupvit
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.train.teaching.from_clip import LOGIT_STD
from ovbench.toyworld.train.teaching.patch_labels import PatchLabels
from ovbench.toyworld.train.teaching.views import presence
from ovbench.toyworld.train.teaching.windows import Window
from ovbench.toyworld.world import NAMES, SIZE, THINGS

WEIGHTS = "model.safetensors"


class KilledError(Exception):
    """Stands for whatever ends a process."""


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few scenes, batches of a few pictures, quick figures."""
    small = {"scenes": 12, "patches": 1152, "scored_on": 2}
    monkeypatch.setattr(groupvit, "RECIPE", groupvit.RECIPE | small)
    monkeypatch.setattr(groupvit, "EVALUATED", 2)


@pytest.fixture(scope="module")
def clip() -> CLIP:
    return load_clip("ViT-B-16", "openai", Runtime(checkpoints="toy"))


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_a_killed_run_ends_like_one_that_was_not(tmp_path: Path) -> None:
    whole = Options(tmp_path / "whole", steps=3, save_every=1)
    groupvit.train(whole)
    broken = Options(tmp_path / "broken", steps=3, save_every=1)
    lesson = groupvit.Lesson.loss

    def loss(self: groupvit.Lesson, step: int) -> torch.Tensor:
        if step == 2:
            raise KilledError
        return lesson(self, step)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KilledError):  # noqa: PT012
        patch.setattr(groupvit.Lesson, "loss", loss)
        groupvit.train(broken)
    assert torch.load(broken.output / "training-1.pt", weights_only=True)["step"] == 2
    groupvit.train(broken)
    assert (broken.output / WEIGHTS).read_bytes() == (whole.output / WEIGHTS).read_bytes()
    assert not list(broken.output.glob("*.pt"))


@pytest.mark.usefixtures("tiny")
def test_the_command_writes_what_the_loader_reads(tmp_path: Path) -> None:
    assert main(["groupvit", "--steps", "1", "--output", str(tmp_path)]) == 0
    model = load_folder(tmp_path, (), Runtime())
    found = model.groups(imagenet_pixels(render_scene(0).image[None], SIZE))
    assert found.shares.shape == (1, 8, 12, 12)
    card = json.loads((tmp_path / "card.json").read_text())
    assert (
        card["weights"][0]["sha256"]
        == hashlib.sha256((tmp_path / WEIGHTS).read_bytes()).hexdigest()
    )


def test_the_shipped_checkpoint_is_the_one_its_card_describes() -> None:
    folder, (file,) = weights_of("groupvit")
    card = json.loads((folder / "card.json").read_text())
    assert card["weights"][0]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (
        card["recipe"]["start_sha256"]
        == load_clip("ViT-B-16", "openai", Runtime(checkpoints="toy")).checkpoint.sha256
    )
    model = load_groupvit("groupvit_gcc_yfcc", Runtime(checkpoints="toy"))
    assert [record.name for record in model.checkpoints] == ["toyworld/groupvit"]
    texts = model.embed_queries(NAMES, ("a photo of a {}.",))
    alike = texts @ texts.T - torch.eye(len(NAMES))
    assert alike.max() < 0.9  # it knows its words apart, by its own tokenizer


def test_it_starts_by_reading_as_clip_does(clip: CLIP) -> None:
    torch.manual_seed(0)
    model, tokenizer = groupvit.build(), groupvit.packaged_tokenizer()
    bank = SceneBank(8)
    groupvit.start(model, clip, bank, tokenizer)
    words = ["a photo of a star.", "the sky"]
    with torch.no_grad():
        texts = model.get_text_features(tokenizer(words)).pooler_output
    same = torch.nn.functional.cosine_similarity(texts, clip.encode_text(words))
    torch.testing.assert_close(same, torch.ones(2), atol=1e-4, rtol=0)
    images, _ = bank.take(np.arange(8))
    pixels = imagenet_pixels(images, SIZE)
    mean, std, its_mean, its_std = (
        torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD, clip.mean, clip.std)
    )
    with torch.no_grad():
        theirs, _ = embed(clip.visual, (pixels * std + mean - its_mean) / its_std)
        own = model.vision_model.embeddings(pixels)
        torch.testing.assert_close(own.mean(dim=0), theirs[:, 1:].mean(dim=0), atol=1e-4, rtol=0)
        stage, seen = model.vision_model.encoder.stages[0], {}
        hook = stage.downsample.assign.register_forward_hook(
            lambda module, inputs, _: seen.update(
                logits=module.q_proj(inputs[0]) @ module.k_proj(inputs[1]).mT * module.scale
            )
        )
        grouped(model, own)
        hook.remove()
    apart = seen["logits"] - seen["logits"].mean(dim=1, keepdim=True)
    assert apart.std() == pytest.approx(LOGIT_STD, rel=0.05)
    assert open_clip.create_model(
        f"local-dir:{weights_of('clip')[0]}"
    ).logit_scale.item() == pytest.approx(model.logit_scale.item(), abs=1e-3)


def test_a_window_s_patches_have_the_places_that_they_have_in_the_scene() -> None:
    lesson = groupvit.Lesson.__new__(groupvit.Lesson)
    lesson.model, lesson.options = groupvit.build().eval(), Options(Path(), 1)
    embeddings = lesson.model.vision_model.embeddings
    torch.nn.init.normal_(embeddings.position_embeddings)
    image = render_scene(1).image[None]
    with torch.no_grad():
        whole = lesson._embedded(image, Window(0, 0, 96, 2.0)).reshape(24, 24, -1)
        part = lesson._embedded(image[:, 24:72, 40:88], Window(24, 40, 48, 2.0))
        plain = embeddings(imagenet_pixels(image, SIZE))
        torch.testing.assert_close(lesson._embedded(image, Window(0, 0, 96, 1.0)), plain)
    here = whole[6:18, 10:22].reshape(1, 144, -1)
    # the border of an enlarged window knows nothing of what lies beyond
    inner = torch.zeros(12, 12, dtype=torch.bool)
    inner[1:-1, 1:-1] = True
    torch.testing.assert_close(part[:, inner.flatten()], here[:, inner.flatten()])


def test_patches_are_labelled_among_what_the_caption_names(clip: CLIP) -> None:
    bank = SceneBank(6)
    labels, (_, truth) = PatchLabels(clip, bank), bank.take(np.arange(6))
    present = presence(truth)
    found = labels.of(np.arange(6), Window(0, 0, 96, 2.0), 24, present)
    assert all(
        set(np.unique(row)) <= set(np.flatnonzero(p)) for row, p in zip(found, present, strict=True)
    )
    centres = truth[:, 2::4, 2::4].reshape(6, -1)
    assert (found.numpy() == centres).mean() > 0.6
    part = labels.of(np.arange(6), Window(24, 40, 48, 2.0), 12, present)
    assert torch.equal(part, found.reshape(6, 24, 24)[:, 6:18, 10:22].flatten(1))


def test_losses_prefer_the_truth() -> None:
    taught = torch.tensor([[3, 3, 12, 12]])
    onehot = torch.nn.functional.one_hot(taught, len(NAMES)).float()
    shares = torch.zeros(1, 8, 4)
    shares[0, 0, :2] = shares[0, 5, 2:] = 1.0
    assert groupvit.affinity_loss(shares, taught) < 1e-3
    assert groupvit.affinity_loss(shares.roll(1, dims=2), taught) > 2
    assert groupvit.affinity_loss(torch.full((1, 8, 4), 1 / 8), taught) == pytest.approx(
        -(math.log(1 / 8) + math.log(7 / 8)) / 2, rel=1e-4
    )
    logits = torch.zeros(1, 8, len(NAMES))
    logits[0, 0, 3] = logits[0, 5, 12] = 20.0
    assert groupvit.label_loss(logits, shares, onehot) < 1e-3
    assert groupvit.label_loss(logits.flip(1), shares, onehot) == pytest.approx(math.log(15))
    # the group of stuff, 5, is no thing in particular, and that of a thing does not count
    assert groupvit.background_loss(logits, shares, onehot) == pytest.approx(math.log(len(THINGS)))
    logits[0, 5, 4] = 20.0
    assert groupvit.background_loss(logits, shares, onehot) > 10
    true = torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 0, 1]])
    right = groupvit.caption_loss(40 * true, true)
    assert right == pytest.approx(math.log(2) * 2 / 3, rel=1e-4)  # two of three have two answers
    assert groupvit.caption_loss(40 * (1 - true), true) > 10


def test_quality_counts_pixels_by_their_groups_names() -> None:
    groups = np.zeros((2, 4, 4), np.int64)
    groups[1, :, 2:] = 7
    names = np.tile(np.arange(8), (2, 1))
    names[1, 7] = 14
    labels = grouping.Named(groups, names).labels
    assert (labels[0] == 0).all()
    assert labels[1].tolist() == [[0, 0, 14, 14]] * 4
