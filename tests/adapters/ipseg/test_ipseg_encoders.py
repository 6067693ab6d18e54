"""Table 7's features are those of stock models, on random weights, and run on the miniatures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ovbench.adapters.ipseg import IPSeg
from ovbench.adapters.ipseg.encoders import load_encoder
from ovbench.adapters.ipseg.features import Extractor, Letterbox
from ovbench.adapters.ipseg.settings import IPSegSettings, Settled
from ovbench.datasets import load_dataset
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.registry.methods import choose_method
from ovbench.models.patches import encoder as patch_encoder
from ovbench.models.weights.checkpoints import Located

GRID, PATCH = 8, 8
SIDE = GRID * PATCH
IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def randomise(model: Any) -> Any:
    generator = torch.Generator().manual_seed(0)
    for weight in model.state_dict().values():
        if weight.is_floating_point():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    return model.eval()


def square(mean: Any, std: Any) -> tuple[Letterbox, Tensor]:
    box = Letterbox.of(IMAGE, SIDE)
    pixels = torch.tensor(box.pixels).permute(2, 0, 1) / 255
    of = (torch.tensor(values)[:, None, None] for values in (mean, std))
    return box, ((pixels - next(of)) / next(of))[None]


def require_stock(settings: IPSegSettings, box: Letterbox, stock: Tensor) -> None:
    """What a method would compare is what a stock model says inside the picture."""
    settled = Settled(features=settings.features, grid=GRID)
    extractor = Extractor(settled, None, load_encoder(settings, Runtime()), 0)
    (found,) = extractor.layers(IMAGE)
    torch.testing.assert_close(found, box.inside(stock, GRID), atol=1e-5, rtol=1e-4)
    assert extractor.weights == (1.0,)


def test_mae_is_transformers_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    config = ViTMAEConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64,
        image_size=SIDE, patch_size=PATCH, mask_ratio=0.0, decoder_hidden_size=16,
        decoder_num_hidden_layers=1, decoder_num_attention_heads=2, decoder_intermediate_size=16,
    )  # fmt: skip
    model = randomise(ViTMAEForPreTraining(config))
    model.save_pretrained(tmp_path)
    record = CheckpointRecord("dino", "tiny", None, None)
    located = Located(tmp_path, (record,))
    monkeypatch.setattr(patch_encoder, "locate", lambda *_: located)
    box, pixels = square(patch_encoder.PatchEncoder.mean, patch_encoder.PatchEncoder.std)
    with torch.no_grad():
        in_order = torch.arange(float(GRID * GRID))[None]  # the noise by which MAE shuffles
        states = model.vit(pixels, noise=in_order, output_hidden_states=True).hidden_states
    stock = states[-1][0, 1:].T.reshape(32, GRID, GRID)
    require_stock(IPSegSettings(features="mae", mae="tiny"), box, stock)


def test_clip_is_open_clips_own(tmp_path: Path) -> None:
    import open_clip

    tower = {"width": 32, "head_width": 16, "layers": 3, "patch_size": PATCH, "image_size": SIDE}
    text = {"width": 16, "heads": 2, "layers": 1, "context_length": 8}
    config = {"embed_dim": 16, "vision_cfg": tower, "text_cfg": text}
    (tmp_path / "ipseg-vit.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path)
    settings = IPSegSettings(
        features="clip", clip_architecture="ipseg-vit", clip_pretrained="random"
    )
    encoder = load_encoder(settings, Runtime())
    assert encoder is not None
    assert encoder.mean == open_clip.OPENAI_DATASET_MEAN
    box, pixels = square(encoder.mean, encoder.std)
    visual: Any = encoder._model._model.visual  # type: ignore[attr-defined]
    with torch.no_grad():
        found = visual.forward_intermediates(
            pixels, indices=[2], normalize_intermediates=False, intermediates_only=True
        )
    require_stock(settings, box, found["image_intermediates"][0][0])


@pytest.mark.parametrize(("preset", "role"), [("table7_mae", "dino"), ("table7_clip", "clip")])
def test_table_7_runs_on_the_miniatures(preset: str, role: str) -> None:
    settings = choose_method("ipseg", preset, {}).settings
    assert isinstance(settings, IPSegSettings)
    method = IPSeg(settings, Runtime(checkpoints="toy"))
    # The miniature of DINO, which FOUND reads as well, stands in for MAE.
    assert {one.role for one in method.checkpoints} == {role, "dino", "saliency", "sam"}
    shown = load_dataset("toyworld", prompts="train")
    method.prepare(shown.vocabulary)
    sample = shown.load(0)
    present = [int(label) for label in np.unique(sample.label) if label]
    (answer,) = method.segment([sample.image], [present])
    assert answer.shape == sample.label.shape
    assert set(np.unique(answer).tolist()) & set(present)
