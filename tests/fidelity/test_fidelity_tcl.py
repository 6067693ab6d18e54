"""TCL against its released function, and its masks against a plain restatement."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch
from oracles import require_close, vectors
from torch import Tensor
from torch.nn import functional

from ovbench.adapters import tcl as adapter
from ovbench.adapters.tcl import TCL, TCLSettings
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.clip.masker import Masker, MaskerNetwork, own_names
from ovbench.models.clip.model import CLIP
from ovbench.models.pixels.windows import Windows


def masker(clip: CLIP) -> Masker:
    network = MaskerNetwork(clip.visual)
    network.load_state_dict(own_names(vectors("tcl_weights")))
    return Masker(network, (), Runtime())


@pytest.fixture
def method(monkeypatch: pytest.MonkeyPatch) -> TCL:
    monkeypatch.setattr(adapter, "load_clip", lambda *_: oracles.clip())
    monkeypatch.setattr(adapter, "load_masker", lambda name, clip, runtime: masker(clip))
    made = TCL(TCLSettings(), Runtime())
    made.text = functional.normalize(vectors("tcl_inputs")["text"], dim=1)
    return made


def padded(pixels: Tensor) -> tuple[Windows, Tensor]:
    """The picture as one window, with zeros up to a multiple of 16."""
    windows = Windows.over((pixels.shape[2], pixels.shape[3]), 0, 1, 16)
    return windows, windows.cut(pixels[0])


@pytest.mark.parametrize("shape", ["square", "wide"])
@torch.inference_mode()
def test_embeddings(shape: str) -> None:
    clip, expected = oracles.clip(), vectors("tcl")
    _, crops = padded(vectors("tcl_inputs")[f"{shape}.pixels"])
    trunk = clip.trunk(crops)
    require_close(trunk.tokens, expected[f"{shape}.block11_output"])
    own, _ = adapter.attend(trunk, adapter.values_alone, residual=True, mlp=True)
    require_close(own, expected[f"{shape}.frozen_features"])
    found = masker(clip).embed(trunk)
    assert found.shape[2:] == (4 * own.shape[2], 4 * own.shape[3])
    require_close(found[..., ::2, ::2], expected[f"{shape}.masker_embedding"])


@pytest.mark.parametrize("kind", ["masks", "masks.no_kp", "masks.pamr"])
@pytest.mark.parametrize("shape", ["square", "wide"])
@torch.inference_mode()
def test_masks_and_labels(shape: str, kind: str, method: TCL) -> None:
    expected = vectors("tcl")
    refined = kind == "masks.pamr"
    method.settings = TCLSettings(
        prior_weight=0.0 if kind == "masks.no_kp" else 0.3,
        pamr_iterations=10 if refined else 0,
        background_score=0.4 if refined else 0.5,
    )
    pixels = vectors("tcl_inputs")[f"{shape}.pixels"]
    windows, crops = padded(pixels)
    maps, kept = method.scores(method.read(crops), crops, torch.arange(5), True)
    assert kept.tolist() == [0, 1, 2, 3, 4]
    whole = windows.merge(maps, (pixels.shape[2], pixels.shape[3])).whole()
    require_close(whole[None, 1:, ::4, ::4], expected[f"{shape}.{kind}"])
    if kind != "masks.no_kp":
        labels = expected[f"{shape}.labels_bg{0.4 if refined else 0.5}"]
        assert (whole.argmax(0) == labels).float().mean() > 0.999


def test_every_class_has_a_mask_by_itself(method: TCL) -> None:
    """Against the rule written out place by place, at the grid of the masks."""
    generator = torch.Generator().manual_seed(0)
    cosines = torch.rand(2, 3, 4, 8, generator=generator)
    prior = torch.rand(2, 3, 1, 2, generator=generator)
    crops = torch.rand(2, 3, 16, 32, generator=generator)
    method.settings = TCLSettings(prior_weight=0.25)
    network = method._masker._network
    sharpness, shift = float(network.sharpness), float(network.shift)
    maps, kept = method.scores((cosines, prior), crops, torch.tensor([0, 2]), True)
    assert kept.tolist() == [0, 2]
    assert (maps[:, 0] == 0.5).all()
    for window in range(2):
        for place, query in ((1, 0), (2, 2)):
            for row in range(4):
                for column in range(8):
                    # Two patches side by side: their centres are at 1.5 and 5.5 of the masks'.
                    right = min(max((column - 1.5) / 4, 0.0), 1.0)
                    near, far = (
                        1 / (1 + np.exp(-10 * (float(prior[window, query, 0, i]) - 0.25)))
                        for i in (0, 1)
                    )
                    own = float(cosines[window, query, row, column])
                    mask = 1 / (1 + np.exp(-(sharpness * own + shift)))
                    expected = 0.75 * mask + 0.25 * (near * (1 - right) + far * right)
                    assert float(maps[window, place, row, column]) == pytest.approx(
                        expected, rel=1e-5
                    )


def test_background_is_a_constant_without_a_text(method: TCL) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    answers = []
    for score in (0.0, 1.0):
        method.settings = TCLSettings(
            short_side=64, window=64, window_stride=32, background_score=score
        )
        method.prepare(Vocabulary.of("cat", "dog", background=True))
        assert len(method.text) == 2
        answers.append(method.segment([picture])[0])
    assert answers[0].all()
    assert not answers[1].any()
