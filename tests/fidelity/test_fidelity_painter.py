"""Painter against what the released model painted with small random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from oracles import require_close, vectors
from transformers import SegGptConfig

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models import painter
from ovbench.models.weights.checkpoints import Located


def test_painter_paints_what_the_released_model_paints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = SegGptConfig(
        hidden_size=16,
        num_attention_heads=2,
        mlp_dim=64,
        image_size=[64, 32],
        patch_size=8,
        pretrain_image_size=48,
        decoder_hidden_size=8,
    )
    monkeypatch.setattr("transformers.SegGptConfig", lambda: sizes)
    file = tmp_path / "painter.pth"
    torch.save({"model": vectors("painter_weights")}, file)
    located = Located(file, (CheckpointRecord("painter", file.name, None, None),))
    monkeypatch.setattr(painter, "locate", lambda *_: located)
    model = painter.load_painter("any", Runtime())._model
    stored = vectors("painter")
    for embedding in ("instance", "semantic"):  # which says nothing
        with torch.no_grad():
            painted = model(
                pixel_values=stored["pictures"][:, :, 32:],
                prompt_pixel_values=stored["pictures"][:, :, :32],
                prompt_masks=stored["targets"][:, :, :32],
                embedding_type=embedding,
            ).pred_masks
        require_close(painted, stored["output"])
