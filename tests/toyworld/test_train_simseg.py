"""Training of the miniature SimSeg, and what is shipped of it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import ViTModel

from ovbench.adapters.pooled.simseg import spoken
from ovbench.harness.contract.runtime import Runtime
from ovbench.models.pixels.inputs import IMAGENET_MEAN, IMAGENET_STD, normalised
from ovbench.models.towers.model import Towers
from ovbench.models.towers.simseg import SIMSEG, load_simseg
from ovbench.models.weights.checkpoints import packaged
from ovbench.toyworld.quality.places import measure
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.train.__main__ import main
from ovbench.toyworld.train.roles import clip
from ovbench.toyworld.train.roles.pooled import lessons, simseg
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.world import NAMES, SPLITS


@pytest.fixture(scope="module")
def built() -> simseg.Captioned:
    return simseg.build(len(clip.words()), Options(Path(), 1)).eval()


@torch.no_grad()
def test_it_starts_from_the_packaged_dino(built: simseg.Captioned) -> None:
    dino = ViTModel.from_pretrained(packaged("dino").path, add_pooling_layer=False).float()
    own = built.network.image.state_dict()
    assert all(torch.equal(own[name], weight) for name, weight in dino.state_dict().items())


@torch.no_grad()
def test_the_five_largest_places_speak_as_when_it_is_used(built: simseg.Captioned) -> None:
    """In training as by the method, which asks the loaded towers for places."""
    bank = SceneBank(2)
    kept = lessons.places_of(built.network.image, bank)
    assert kept.shape == (2, 12, 12, 128)
    model = Towers(built.network, lambda _: None, "largest", (), Runtime())  # type: ignore[arg-type, return-value]
    images = torch.from_numpy(bank.take(np.arange(2))[0]).permute(0, 3, 1, 2).float()
    places = model.places(normalised(images, IMAGENET_MEAN, IMAGENET_STD))
    expected = torch.stack([spoken(one, 5) for one in places])
    found = built.pool(kept.float().flatten(1, 2))
    torch.testing.assert_close(found, expected, atol=1e-2, rtol=1e-2)  # kept in half precision


def test_a_window_is_captioned_by_what_it_shows(
    built: simseg.Captioned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Places that are the labels of their patches: what is pooled is what is captioned."""
    monkeypatch.setattr(simseg, "RECIPE", simseg.RECIPE | {"batch": 6, "windows": [3, 6]})
    bank = SceneBank(6)
    labels = torch.from_numpy(bank.take(np.arange(6))[1])
    seen: list[tuple[torch.Tensor, np.ndarray]] = []
    patches = labels[:, ::8, ::8]  # the first pixel of each
    places = functional.one_hot(patches.long(), len(NAMES)).half()
    lesson = lessons.PooledLesson(
        simseg.RECIPE,
        places,
        built,
        None,
        clip.words(),
        bank,
        {"loss": "sigmoid"},
        Options(Path(), 1),
        0,
    )
    monkeypatch.setattr(built, "pool", lambda window: window)
    monkeypatch.setattr(
        lesson, "_sigmoid", lambda image, present, rng: seen.append((image, present)) or image.sum()
    )
    for step in range(4):
        lesson.loss(step)
        image, present = seen[-1]
        shown = image.amax(dim=1).bool().numpy()
        assert image.shape[1] in (9, 36)
        # A few pixels of a class are not enough to be named.
        assert (shown & ~present).mean() < 0.1
        assert (present & ~shown).mean() < 0.1
        assert (shown & present).any(axis=1).all()


@torch.no_grad()
def test_the_largest_word_speaks(built: simseg.Captioned) -> None:
    tokens = torch.tensor([[2, 5, 6, 7], [2, 5, 0, 0]])
    found = built.encode_text(tokens, normalize=True)
    alone = built.encode_text(tokens[1:, :2], normalize=True)
    torch.testing.assert_close(found[1:], alone, atol=1e-5, rtol=1e-5)
    states = built.network.text(input_ids=tokens[:1]).last_hidden_state[0]
    words = torch.stack([built.network.text_projection(state) for state in states])
    expected = functional.normalize(words.max(dim=0).values, dim=0)
    torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=1e-5)


def test_the_command_writes_what_the_method_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simseg, "RECIPE", simseg.RECIPE | {"scenes": 12, "batch": 6})
    monkeypatch.setattr(simseg, "EVALUATED", 2)
    assert main(["simseg", "--steps", "4", "--output", str(tmp_path)]) == 0
    network, words = SIMSEG._of_folder(tmp_path)
    start = simseg.build(len(clip.words()), Options(Path(), 1)).network
    learned = {
        name: not torch.equal(weight, start.state_dict()[name].half().float())
        for name, weight in network.state_dict().items()
    }
    assert learned["text_projection.weight"]
    assert learned["image_projection.weight"]
    assert not any(changed for name, changed in learned.items() if name.startswith("image."))
    assert words(["a star"])[0].shape == (1, 4)
    assert not list(tmp_path.glob("*.pt"))
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["steps"] == 4
    assert card["metrics"]["validation_scenes"] == 2


def test_the_shipped_weights_are_those_of_their_card() -> None:
    folder = packaged("simseg").path
    card = json.loads((folder / "card.json").read_text())
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert card["weights"] == [{"file": "model.safetensors", "bytes": 1918192, "sha256": digest}]
    assert card["recipe"]["start_sha256"] == packaged("dino").records[0].sha256
    scenes = [render_scene(seed) for seed in SPLITS["test"][:4]]
    found = measure(load_simseg("", Runtime(checkpoints="toy")), scenes)
    assert found["miou_15_192px"] > 25  # of four scenes; the floor is held on many
