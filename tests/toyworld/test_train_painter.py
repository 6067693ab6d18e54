"""Training of the miniature Painter."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch

from ovbench.models.painter import TYPE_TOKENS
from ovbench.models.seggpt import read_folder
from ovbench.models.weights.checkpoints import packaged
from ovbench.toyworld.train.__main__ import main
from ovbench.toyworld.train.roles.in_context import painter, seggpt


def test_it_goes_on_from_seggpt_and_its_tokens_stay_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(painter, "RECIPE", painter.RECIPE | {"scenes": 60})
    monkeypatch.setattr(seggpt, "RECIPE", seggpt.RECIPE | {"pairs": 2})
    monkeypatch.setattr(seggpt, "EVALUATED", 8)
    assert main(["painter", "--steps", "1", "--output", str(tmp_path)]) == 0
    found, start = read_folder(tmp_path), read_folder(packaged("seggpt").path)
    for name, weight in found.named_parameters():
        if name in TYPE_TOKENS:
            assert not weight.any()
        else:
            torch.testing.assert_close(
                weight.float(), start.get_parameter(name).float(), atol=2e-3, rtol=0
            )
    learned = "model.encoder.layers.0.mlp.lin1.weight"
    assert not torch.equal(found.get_parameter(learned), start.get_parameter(learned))
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["recipe"]["start_sha256"] == packaged("seggpt").records[0].sha256


def test_the_shipped_weights_are_those_of_their_card() -> None:
    folder = packaged("painter").path
    card = json.loads((folder / "card.json").read_text())
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert card["weights"] == [{"file": "model.safetensors", "bytes": 3289526, "sha256": digest}]
    assert card["recipe"]["start_sha256"] == packaged("seggpt").records[0].sha256
    shipped = read_folder(folder)
    assert not any(shipped.get_parameter(name).any() for name in TYPE_TOKENS)
