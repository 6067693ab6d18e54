"""Training of the miniature CLIPpy."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from ovbench.harness.contract.runtime import Runtime
from ovbench.models.pixels.inputs import normalised
from ovbench.models.towers.clippy import CLIPPY, MEAN, STD, load_clippy
from ovbench.models.towers.model import Towers
from ovbench.models.towers.words import words_in
from ovbench.models.weights.checkpoints import packaged
from ovbench.toyworld.quality.places import measure
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.train.__main__ import main
from ovbench.toyworld.train.roles import clip
from ovbench.toyworld.train.roles.pooled import clippy, lessons
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.train.teaching.words import write_tokenizer
from ovbench.toyworld.world import SPLITS


@pytest.fixture(scope="module")
def built() -> clippy.Grouped:
    return clippy.build(len(clip.words()), Options(Path(), 1)).eval()


@torch.no_grad()
def test_the_largest_place_and_the_mean_word_speak_as_when_it_is_used(
    built: clippy.Grouped, tmp_path: Path
) -> None:
    """In training as by the loaded towers, but for the class token that windows lack."""
    learning = clippy.RECIPE["learning_layers"]
    bank = SceneBank(2)
    kept = lessons.places_of(built.network.image, bank, (MEAN, STD), learning)
    assert kept.shape == (2, 12, 12, 128)
    write_tokenizer(clip.words(), tmp_path, 24)
    words = words_in(tmp_path, 24)
    model = Towers(built.network, words, "mean", (), Runtime(), "dino")
    images = torch.from_numpy(bank.take(np.arange(2))[0]).permute(0, 3, 1, 2).float()
    places = model.places(normalised(images, MEAN, STD)).flatten(2)
    found = built.pool(kept.float().flatten(1, 2))
    expected = functional.normalize(places.amax(dim=2), dim=-1)
    assert functional.cosine_similarity(found, expected).min() > 0.98
    texts = ["a star", "a photo of a ring and a star"]
    spoken = built.encode_text(words(texts)[0], normalize=True)
    torch.testing.assert_close(spoken, model.embed_queries(texts, ["{}"]), atol=1e-5, rtol=1e-5)


def test_the_command_writes_what_the_method_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clippy, "RECIPE", clippy.RECIPE | {"scenes": 12, "batch": 6})
    monkeypatch.setattr(clippy, "EVALUATED", 2)
    assert main(["clippy", "--steps", "4", "--output", str(tmp_path)]) == 0
    network, words = CLIPPY._of_folder(tmp_path)
    start = clippy.build(len(clip.words()), Options(Path(), 1)).network.state_dict()
    learned = {
        name
        for name, weight in network.state_dict().items()
        if not torch.equal(weight, start[name].half().float())
    }
    assert "text_projection.weight" in learned
    image = {name for name in learned if name.startswith("image.")}
    assert image
    assert all(name.startswith(("image.layers.3.", "image.layernorm.")) for name in image)
    assert words(["a star"])[0].shape == (1, 4)
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["steps"] == 4
    assert not list(tmp_path.glob("*.pt"))


def test_the_shipped_weights_are_those_of_their_card() -> None:
    folder = packaged("clippy").path
    card = json.loads((folder / "card.json").read_text())
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert card["weights"] == [{"file": "model.safetensors", "bytes": 1907336, "sha256": digest}]
    assert card["recipe"]["start_sha256"] == packaged("dino").records[0].sha256
    scenes = [render_scene(seed) for seed in SPLITS["test"][:4]]
    found = measure(load_clippy("", Runtime(checkpoints="toy")), scenes, (MEAN, STD))
    assert found["miou_15_192px"] > 25  # of four scenes; the floor is held on many
