"""Saliency: FOUND's head on a patch encoder, and where its parts are loaded from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import ViTConfig, ViTModel

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.patches import encoder as patch_encoder
from ovbench.models.patches import saliency
from ovbench.models.patches.encoder import PatchEncoder
from ovbench.models.patches.saliency import Saliency, load_head, load_saliency
from ovbench.models.weights.checkpoints import Located

ENCODER = CheckpointRecord("dino", "tiny", None, None)
HEAD = CheckpointRecord("saliency", "tiny", None, None)


def vit(width: int = 32, layers: int = 2, heads: int = 4, image_size: int = 32) -> Any:
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=width * 4,
        image_size=image_size,
        patch_size=8,
        initializer_range=1.7 / width**0.5,  # rounding grows with what attention is sure of
    )
    return ViTModel(config, add_pooling_layer=False)


def head(width: int = 32) -> nn.Conv2d:
    torch.manual_seed(1)
    return nn.Conv2d(width, 1, 1)


def build(**sizes: int) -> Saliency:
    encoder = PatchEncoder(vit(**sizes), (ENCODER,), Runtime())
    return Saliency(encoder, head(encoder.width), (HEAD,))


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2))


def last_keys(model: Any, images: Tensor) -> Tensor:
    """The keys of the last attention, caught on their way; ``(B, tokens, width)``."""
    caught: list[Tensor] = []
    model.layers[-1].attention.k_proj.register_forward_hook(lambda *a: caught.append(a[2]))
    model.eval()(images, interpolate_pos_encoding=True)
    return caught[0]


@torch.no_grad()
def assert_is_found(model: Saliency, own: Any, images: Tensor) -> None:
    height, width = (side // 8 for side in images.shape[-2:])
    weight, bias = model._head.weight[0, :, 0, 0], model._head.bias
    assert bias is not None
    logits = last_keys(own, images)[:, 1:] @ weight + bias
    logits = logits.reshape(-1, 1, height, width)
    logits = functional.interpolate(logits, images.shape[-2:], mode="bilinear")[:, 0]
    found = model.predict(images)
    assert found.shape == (len(images), *images.shape[-2:])
    torch.testing.assert_close(found, 1 / (1 + (-logits).exp()), atol=1e-4, rtol=1e-4)


def test_a_sigmoid_of_a_linear_map_of_the_last_keys() -> None:
    assert_is_found(build(), vit(), noise(2, 3, 40, 24))


def test_sizes_that_are_no_multiple_are_padded_with_the_mean_colour() -> None:
    model, images = build(), noise(1, 3, 35, 17)
    padded = torch.zeros(1, 3, 40, 24)
    padded[..., :35, :17] = images
    torch.testing.assert_close(model.predict(images), model.predict(padded)[..., :35, :17])


def test_both_checkpoints_are_recorded_and_the_encoders_sizes_shown() -> None:
    model = build()
    assert model.checkpoints == (ENCODER, HEAD)
    assert model.patch_size == 8
    assert model.mean == (0.485, 0.456, 0.406)
    assert not any(weight.requires_grad for weight in model._head.parameters())


def test_a_head_for_another_encoder() -> None:
    with pytest.raises(ValueError, match="48 channels for an encoder of 32"):
        Saliency(PatchEncoder(vit(), (ENCODER,), Runtime()), head(48), (HEAD,))


def save_released(path: Path, width: int = 32) -> Path:
    """As FOUND saved its own: the state of its member ``decoder``."""
    torch.save({"decoder": head(width).state_dict()}, path)
    return path


def save_folder(folder: Path) -> Path:
    folder.mkdir()
    state = {f"decoder.{name}": weight.half() for name, weight in head().state_dict().items()}
    save_file(state, folder / "model.safetensors")
    return folder


def test_heads_from_the_released_file_and_from_a_folder(tmp_path: Path) -> None:
    released = load_head(save_released(tmp_path / "decoder_weights.pt")).state_dict()
    folder = load_head(save_folder(tmp_path / "head")).state_dict()
    for name, weight in head().state_dict().items():
        assert torch.equal(released[name], weight)
        assert folder[name].dtype == torch.float32
        assert torch.equal(folder[name], weight.half().float())


@pytest.fixture
def located(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Path]:
    """Where checkpoints are found, by role; the encoder's is there."""
    places = {"dino": tmp_path / "encoder"}
    vit().save_pretrained(places["dino"])

    def locate(role: str, name: str, runtime: Runtime) -> Located:
        return Located(places[role], (CheckpointRecord(role, name, None, None),))

    monkeypatch.setattr(patch_encoder, "locate", locate)
    monkeypatch.setattr(saliency, "locate", locate)
    return places


def test_loads_an_encoder_and_a_head(located: dict[str, Path], tmp_path: Path) -> None:
    located["saliency"] = save_released(tmp_path / "decoder_weights.pt")
    loaded = load_saliency("found_dino_vits8", Runtime())
    assert [(c.role, c.name) for c in loaded.checkpoints] == [
        ("dino", "dino_vits8"),
        ("saliency", "found_dino_vits8"),
    ]
    images = noise(1, 3, 32, 40)
    torch.testing.assert_close(loaded.predict(images), build().predict(images))


def test_loads_in_half_precision(located: dict[str, Path], tmp_path: Path) -> None:
    located["saliency"] = save_folder(tmp_path / "head")
    loaded = load_saliency("found_dino_vits8", Runtime(precision="bf16"))
    images = noise(1, 3, 32, 40)
    found = loaded.predict(images)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, build().predict(images), atol=0.05, rtol=0)


def test_a_checkpoint_for_another_encoder(located: dict[str, Path], tmp_path: Path) -> None:
    located["saliency"] = save_released(tmp_path / "decoder_weights.pt", width=384)
    with pytest.raises(UsageError, match=r"encoder with 384 channels, and dino_vits8 has 32"):
        load_saliency("found_dino_vits8", Runtime())


def test_files_that_are_no_head(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("not found\n")
    (tmp_path / "empty.pt").touch()
    torch.save({"model": {}}, tmp_path / "other.pt")
    torch.save({"decoder": nn.Conv2d(32, 2, 1).state_dict()}, tmp_path / "two.pt")
    torch.save({"decoder": nn.Conv2d(32, 1, 3).state_dict()}, tmp_path / "wide.pt")
    torch.save({"decoder": nn.Linear(32, 1)}, tmp_path / "code.pt")
    (tmp_path / "folder").mkdir()
    for name in ("text.pt", "empty.pt", "other.pt", "two.pt", "wide.pt", "code.pt",
                 "folder", "absent.pt"):  # fmt: skip
        with pytest.raises(UsageError, match=rf"{name}: missing, damaged or another"):
            load_head(tmp_path / name)


@pytest.mark.slow
def test_real_size() -> None:
    sizes = {"width": 384, "layers": 12, "heads": 6, "image_size": 224}
    assert_is_found(build(**sizes), vit(**sizes), noise(1, 3, 224, 320))
