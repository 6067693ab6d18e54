"""Training of the miniature DINO, DINOv2 and saliency head: views, losses, files, figures."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoImageProcessor, Dinov2Model, ViTModel

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.clip.model import load_clip
from ovbench.models.patches.encoder import PatchEncoder, Reading, load_patch_encoder
from ovbench.models.patches.saliency import Saliency, load_head, load_saliency
from ovbench.models.weights.packaged import weights_of
from ovbench.toyworld.quality import foreground, patches
from ovbench.toyworld.quality.inputs import scene_inputs
from ovbench.toyworld.scene import Scene, render_scene
from ovbench.toyworld.train.__main__ import main
from ovbench.toyworld.train.roles import dino, dinov2, saliency
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.teaching import distil, windows
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.world import NAMES, SIZE, SPLITS, THINGS

WEIGHTS = "model.safetensors"
SMALL_RECIPE = {
    "scenes": 12,
    "patches": 64,
    "windows": [(32, 1.0), (32, 1.5)],
    "target_side": SIZE,
}

both = pytest.mark.parametrize("module", [dino, dinov2], ids=["dino", "dinov2"])


class KilledError(Exception):
    """Stands for whatever ends a process."""


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small models, batches of a few windows, quick figures."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    for module in (dino, dinov2):
        monkeypatch.setattr(module, "MODEL", module.MODEL | sizes)
        monkeypatch.setattr(module, "RECIPE", module.RECIPE | SMALL_RECIPE)
    monkeypatch.setattr(saliency, "RECIPE", saliency.RECIPE | {"scenes": 64, "sides": [SIZE]})
    for module in (distil, saliency):
        monkeypatch.setattr(module, "EVALUATED", 2)
    monkeypatch.setattr(patches, "MEAN_SCENES", 2)


def random_encoder() -> PatchEncoder:
    torch.manual_seed(0)
    return PatchEncoder(dino.build(), (CheckpointRecord("dino", "tiny", None, "0"),), Runtime())


@both
@pytest.mark.usefixtures("tiny")
def test_a_killed_run_ends_like_one_that_was_not(module: ModuleType, tmp_path: Path) -> None:
    whole = Options(tmp_path / "whole", steps=4, save_every=1)
    module.train(whole)
    broken = Options(tmp_path / "broken", steps=4, save_every=1)
    lesson = distil.Lesson.loss

    def loss(self: distil.Lesson, step: int) -> Tensor:
        if step == 2:
            raise KilledError
        return lesson(self, step)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KilledError):  # noqa: PT012
        patch.setattr(distil.Lesson, "loss", loss)
        module.train(broken)
    assert torch.load(broken.output / "training-1.pt", weights_only=True)["step"] == 2
    module.train(broken)
    assert (broken.output / WEIGHTS).read_bytes() == (whole.output / WEIGHTS).read_bytes()
    assert not list(broken.output.glob("*.pt"))


@pytest.mark.parametrize(("role", "kind"), [("dino", ViTModel), ("dinov2", Dinov2Model)])
@pytest.mark.usefixtures("tiny")
def test_the_command_writes_what_transformers_loads(role: str, kind: Any, tmp_path: Path) -> None:
    assert main([role, "--steps", "2", "--output", str(tmp_path)]) == 0
    _, report = kind.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["unexpected_keys"]
    assert all(name.startswith("pooler.") for name in report["missing_keys"])
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["weights"][0]["sha256"] == sha256(tmp_path / WEIGHTS)
    assert card["steps"] == 2
    assert "Supervision: no labels" in card["supervision"]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.usefixtures("tiny")
def test_the_processor_normalises_as_the_training_does(tmp_path: Path) -> None:
    distil.export(dino.build(), tmp_path)
    image = render_scene(0).image
    pixels = AutoImageProcessor.from_pretrained(tmp_path)(image, return_tensors="pt").pixel_values
    scene = Scene(image, np.zeros((SIZE, SIZE), np.uint8))
    own = scene_inputs(random_encoder(), [scene], SIZE)
    torch.testing.assert_close(pixels, own, atol=1e-5, rtol=1e-5)


def window_of(**changes: Any) -> windows.Window:
    return windows.Window(0, 0, SIZE, 1.0)._replace(**changes)


@both
@pytest.mark.usefixtures("tiny")
def test_what_is_trained_is_what_the_wrapper_reads(module: ModuleType) -> None:
    """On whole scenes: the last block's tokens, not normalised, and its keys."""
    model = module.build().eval()
    pixels = torch.randn(2, 3, SIZE, SIZE)
    tokens = windows.encode(model, pixels, window_of())
    wrapped = PatchEncoder(model, (), Runtime()).read(pixels, Reading(), Reading(-1, "key"))
    for found, read in zip((tokens.patches, tokens.keys), wrapped, strict=True):
        torch.testing.assert_close(found.mT.unflatten(2, (12, 12)), read.patches)
    torch.testing.assert_close(tokens.classes, wrapped[0].class_token)


@pytest.mark.usefixtures("tiny")
def test_a_masked_patch_is_not_seen() -> None:
    model = dinov2.build().eval()
    pixels, masked = torch.randn(1, 3, 32, 32), torch.zeros(1, 16, dtype=torch.bool)
    masked[0, 0] = True
    other = pixels.clone()
    other[..., :8, :8] = 9.0
    window = window_of(side=32)
    hidden = [windows.encode(model, p, window, masked).patches for p in (pixels, other)]
    shown = [windows.encode(model, p, window).patches for p in (pixels, other)]
    torch.testing.assert_close(*hidden)
    assert not torch.allclose(*shown)


@pytest.mark.usefixtures("tiny")
def test_a_window_keeps_its_place_in_the_enlarged_scene() -> None:
    model = dino.build()
    with torch.no_grad():
        table = model.embeddings.position_embeddings[0]
        table.zero_()
        table[1:, 0] = torch.arange(12.0).repeat_interleave(12)
        table[1:, 1] = torch.arange(12.0).repeat(12)
    window = windows.Window(16, 48, 32, 2.0)
    places = windows.window_positions(model, window, 8)[1:].reshape(8, 8, -1)
    # bicubic interpolation overshoots by a few hundredths of a patch near the borders
    assert torch.allclose(places[:, 3, 0], 1.75 + torch.arange(8) / 2, atol=0.1)
    assert torch.allclose(places[3, :, 1], 5.75 + torch.arange(8) / 2, atol=0.1)


def test_windows_lie_on_the_grid_inside_the_scene() -> None:
    rng = np.random.default_rng(0)
    drawn = [windows.draw_window(distil.RECIPE["windows"], 4, rng) for _ in range(300)]
    assert {(w.side, w.zoom) for w in drawn} == set(distil.RECIPE["windows"])
    for window in drawn:
        assert window.top % 4 == window.left % 4 == 0
        assert min(window.top, window.left) >= 0
        assert max(window.top, window.left) + window.side <= SIZE
    assert max(w.left for w in drawn) == SIZE - 32


def lesson_of(recipe: dict[str, Any], targets: Tensor) -> distil.Lesson:
    bank = SceneBank(len(targets))
    return distil.Lesson(dinov2.build(), bank, targets, recipe, Options(Path(), 1))


@pytest.mark.usefixtures("tiny")
def test_a_windows_targets_are_those_of_its_place() -> None:
    """Targets that say where they are; the window's cells are averages of four."""
    rows = torch.arange(24.0)[:, None].expand(24, 24)
    targets = torch.stack([rows, rows.T])[None].half()
    lesson = lesson_of(dino.RECIPE, targets)
    wanted = lesson._wanted(np.array([0]), windows.Window(16, 48, 32, 1.0), 4)
    place = wanted.reshape(4, 4, 2)
    torch.testing.assert_close(place[:, 0, 0], 4.5 + 2 * torch.arange(4.0), atol=0.3, rtol=0)
    torch.testing.assert_close(place[0, :, 1], 12.5 + 2 * torch.arange(4.0), atol=0.3, rtol=0)


@pytest.mark.usefixtures("tiny")
def test_a_window_shows_its_place() -> None:
    lesson = lesson_of(dino.RECIPE, torch.zeros(2, 3, 24, 24).half())
    images, _ = lesson.bank.take(np.arange(2))
    images[:, 32:64, 16:48] = 255
    lesson.bank._images[:] = images
    pixels = lesson._pixels(np.arange(2), windows.Window(32, 16, 32, 1.5))
    assert pixels.shape == (2, 3, 48, 48)
    assert pixels.amin() > 2  # white, normalised


@pytest.mark.usefixtures("tiny")
def test_masks_hide_some_patches_of_some_windows() -> None:
    lesson = lesson_of(dino.RECIPE | {"masked_windows": 0.5}, torch.zeros(1, 3, 24, 24))
    masks = lesson._masks(400, 64, np.random.default_rng(0))
    assert masks is not None
    assert masks.shape == (400, 64)
    hidden = masks.float().mean(dim=1)
    assert 0.4 < (hidden > 0).float().mean() < 0.6
    assert hidden.max() < 0.75
    assert 0.25 < hidden[hidden > 0].mean() < 0.35


def test_only_resemblance_counts() -> None:
    """Turned and stretched features resemble each other as before."""
    generator = torch.Generator().manual_seed(0)
    wanted = torch.randn(20, 4, generator=generator)
    turn, _ = torch.linalg.qr(torch.randn(6, 6, generator=generator))
    same = 3 * wanted @ turn[:4]
    assert distil.resemblance_error(same, wanted) < 1e-10
    assert distil.resemblance_error(same.roll(1, dims=0), wanted) > 0.1


def test_targets_have_no_common_part() -> None:
    clip = load_clip("ViT-B-16", "openai", Runtime(checkpoints="toy"))
    targets = distil.targets_of(clip, SceneBank(3), SIZE)
    assert targets.shape == (3, 64, 12, 12)
    assert targets.dtype == torch.float16
    assert targets.float().mean(dim=(0, 2, 3)).abs().max() < 1e-3
    again = distil.targets_of(clip, SceneBank(3), SIZE)
    assert torch.equal(again, targets)


def test_shares_of_a_patch() -> None:
    label = np.zeros((1, SIZE, SIZE), np.uint8)
    label[0, :8, :2] = 3  # a quarter of the first patch
    shares = patches.class_shares(label, SIZE // 8)
    assert shares.shape == (1, 12, 12, len(NAMES))
    assert shares[0, 0, 0, [0, 3]].tolist() == [0.75, 0.25]
    assert shares[0, 0, 1, 0] == 1


def test_means_come_from_pure_patches() -> None:
    shares = torch.zeros(3, len(NAMES))
    shares[0, 0] = shares[1, 1] = 1.0
    shares[2, :2] = 0.5
    means = patches.class_means(torch.tensor([[3.0, 0.0], [0.0, 1.0], [9.0, 9.0]]), shares)
    assert means[:2].tolist() == [[1, 0], [0, 1]]


def test_accuracy_over_patches_and_over_classes() -> None:
    truth = torch.tensor([0, 0, 0, 1])
    assert patches.accuracy(torch.tensor([0, 0, 0, 0]), truth) == (0.75, 0.5)


def test_features_that_are_the_class_are_always_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the two facets, one tells the class and one tells nothing."""
    scenes = [render_scene(seed) for seed in SPLITS["val"][:12]]
    monkeypatch.setattr(patches, "MEAN_SCENES", 40)

    def encode(model: Any, scenes: Any, side: int, reading: Any) -> tuple[Tensor, Tensor]:
        labels = np.stack([scene.label for scene in scenes])
        shares = patches.class_shares(labels, side // 8).flatten(0, 2)
        truth = torch.nn.functional.one_hot(shares.argmax(dim=1), len(NAMES)).float()
        return truth if reading.facet == "key" else torch.ones_like(truth), shares

    monkeypatch.setattr(patches, "encode", encode)
    figures = patches.measure(random_encoder(), scenes)
    assert figures["patch_accuracy_key_96px"] == figures["class_accuracy_key_192px"] == 1
    assert figures["class_accuracy_token_96px"] < 0.2


def test_a_random_encoder_is_measured_at_every_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patches, "MEAN_SCENES", 3)
    figures = patches.measure(random_encoder(), [render_scene(SPLITS["val"][0])])
    assert len(figures) == 8
    assert all(0 <= value <= 1 for value in figures.values())


class Painted(Saliency):
    """Finds foreground where a picture is bright."""

    def predict(self, images: Tensor) -> Tensor:
        return images.mean(dim=1).sigmoid()


def test_foreground_is_things_and_nothing_else() -> None:
    label = np.full((SIZE, SIZE), NAMES.index("sky"), np.uint8)
    label[20:60, 30:70] = NAMES.index("star")
    image = np.where(label[..., None] < len(THINGS), 255, 0).astype(np.uint8).repeat(3, axis=2)
    model = Painted(random_encoder(), nn.Conv2d(128, 1, 1), ())
    right = foreground.measure(model, [Scene(image, label)])
    assert all(value > 0.9 for value in right.values())
    wrong = foreground.measure(model, [Scene(255 - image, label)])
    assert all(value < 0.1 for value in wrong.values())


@pytest.mark.usefixtures("tiny")
def test_the_head_learns_and_is_saved_as_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = random_encoder()
    monkeypatch.setattr(saliency, "load_patch_encoder", lambda *_: encoder)
    assert main(["saliency", "--steps", "30", "--output", str(tmp_path)]) == 0
    head = load_head(tmp_path)
    assert head.weight.shape == (1, encoder.width, 1, 1)
    lesson = saliency.Lesson(encoder, head, SceneBank(64), Options(Path(), 1))
    torch.manual_seed(1)
    fresh = nn.Conv2d(encoder.width, 1, kernel_size=1)
    untrained = saliency.Lesson(encoder, fresh, lesson.bank, lesson.options)
    assert lesson.loss(0) < untrained.loss(0) - 0.02
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["weights"][0]["sha256"] == sha256(tmp_path / WEIGHTS)
    assert card["recipe"]["encoder_sha256"] == "0"


@pytest.mark.parametrize("role", ["dino", "dinov2"])
def test_the_shipped_encoders_tell_classes_apart(
    role: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load_patch_encoder(role, f"{role}_any", Runtime(checkpoints="toy"))
    monkeypatch.setattr(patches, "MEAN_SCENES", 40)
    monkeypatch.setattr(patches, "SIDES", (SIZE,))
    figures = patches.measure(encoder, [render_scene(seed) for seed in SPLITS["val"][:10]])
    assert figures["patch_accuracy_token_96px"] > 0.85
    assert figures["patch_accuracy_key_96px"] > 0.85
    check_card(role, encoder.checkpoints[0].sha256)


def test_the_shipped_saliency_model_finds_things(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_saliency("found_dino_vits8", Runtime(checkpoints="toy"))
    monkeypatch.setattr(foreground, "SIDES", (2 * SIZE,))
    figures = foreground.measure(model, [render_scene(seed) for seed in SPLITS["val"][:10]])
    assert figures["foreground_iou_192px"] > 0.75
    below, head = (record.sha256 for record in model.checkpoints)
    card = check_card("saliency", head)
    assert card["recipe"]["encoder_sha256"] == below


def check_card(role: str, digest: str | None) -> dict[str, Any]:
    """The card is of these weights, and they are small."""
    folder, _ = weights_of(role)
    card: dict[str, Any] = json.loads((folder / "card.json").read_text())
    assert card["weights"][0]["sha256"] == digest
    assert sum(file.stat().st_size for file in folder.iterdir()) < 3_000_000
    return card
