"""SegGPT, against transformers' own pipeline; tests/fidelity holds it to the released model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_seggpt import tiny_seggpt
from transformers import SegGptConfig, SegGptForImageSegmentation, SegGptImageProcessor

from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.contract.vocabulary import Exemplar
from ovbench.models import seggpt as module
from ovbench.models.pixels.inputs import IMAGENET_MEAN, IMAGENET_STD
from ovbench.models.seggpt import Embedding, SegGPT, load_seggpt
from ovbench.models.weights.checkpoints import Located
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.world import SIZE, SPLITS, THINGS

RECORDS = (CheckpointRecord("seggpt", "tiny", None, None),)


def picture(seed: int, size: tuple[int, int] = (40, 60)) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def shown(seed: int, size: tuple[int, int] = (40, 60)) -> Exemplar:
    return Exemplar(picture(seed, size), np.random.default_rng(seed).random(size) < 0.5)


def theirs(
    exemplars: list[Exemplar], image: Image, embedding: Embedding, side: int = 32
) -> torch.Tensor:
    """What transformers' example does, with the processor's own post-processing."""
    processor = SegGptImageProcessor(size={"height": side, "width": side})
    count = len(exemplars)
    inputs = processor(
        images=[image] * count,
        prompt_images=[e.image for e in exemplars],
        prompt_masks=[np.where(e.mask, 255, 0).astype(np.uint8) for e in exemplars],  # type: ignore[arg-type]
        return_tensors="pt",
    )
    with torch.no_grad():
        outputs = tiny_seggpt().eval()(
            **inputs, embedding_type=embedding, feature_ensemble=count > 1
        )
    return processor.post_process_semantic_segmentation(outputs)[0]


@pytest.mark.parametrize("embedding", ["instance", "semantic"])
def test_paints_what_transformers_paints(embedding: Embedding) -> None:
    # Of the model's own size, since transformers resizes with another rounding than Pillow.
    exemplars, image = [shown(0, (32, 32))], picture(9, (32, 32))
    model = SegGPT(tiny_seggpt(), RECORDS, Runtime())
    painted = model.paint(model.encode(image), model.encode_prompts(exemplars), embedding)
    assert painted.shape == model.size == (32, 32)
    expected = theirs(exemplars, image, embedding)
    assert expected.unique().numel() > 20
    # Theirs are cut to whole numbers.
    assert ((painted - expected) > -1e-2).all()
    assert ((painted - expected) < 1.01).all()


def streams_of(model: Any) -> list[int]:
    """How many streams every layer is told that it sees, with two prompts."""
    seen: list[int] = []
    for layer in model.model.encoder.layers:
        layer.register_forward_pre_hook(lambda _layer, arguments: seen.append(arguments[1]))
    canvas, mask = torch.zeros(2, 3, 32, 32), torch.zeros(2, 3, 32, 32)
    with torch.no_grad():
        model.eval()(
            pixel_values=canvas,
            prompt_pixel_values=canvas,
            prompt_masks=mask,
            feature_ensemble=True,
        )
    return seen


def test_several_prompts_are_averaged_within_each_stream_until_they_are_joined() -> None:
    ours = SegGPT(tiny_seggpt(), RECORDS, Runtime())
    assert streams_of(ours._model) == [2, 2, 1, 1]  # joined behind layer 1, its merge_index


def test_transformers_still_joins_the_streams_a_layer_early() -> None:
    """Where this fails the library has been mended, and our correction can go."""
    assert streams_of(tiny_seggpt()) == [2, 1, 1, 1]


def test_prompts_and_embedding_tell() -> None:
    model, image = SegGPT(tiny_seggpt(), RECORDS, Runtime()), picture(9)
    torch.nn.init.normal_(model._model.model.embeddings.type_token_semantic)

    def paint(seed: int, embedding: Embedding = "instance") -> torch.Tensor:
        return model.paint(model.encode(image), model.encode_prompts([shown(seed)]), embedding)

    assert not torch.allclose(paint(1), paint(2))
    assert not torch.allclose(paint(1), paint(1, "semantic"))


def test_masks_become_white_and_black() -> None:
    model = SegGPT(tiny_seggpt(), RECORDS, Runtime())
    mask = np.zeros((32, 32), np.bool_)
    mask[4:20, 8:30] = True
    _, masks = model.encode_prompts([Exemplar(picture(0, (32, 32)), mask)])
    mean = torch.tensor(IMAGENET_MEAN)[:, None, None]
    std = torch.tensor(IMAGENET_STD)[:, None, None]
    torch.testing.assert_close(masks[0] * std + mean, torch.tensor(mask).float().expand(3, -1, -1),
                               atol=1e-5, rtol=0)  # fmt: skip


def test_half_precision_is_near() -> None:
    exact, rough = (SegGPT(tiny_seggpt(), RECORDS, Runtime(precision=p)) for p in ("fp32", "bf16"))
    a, b = (m.paint(m.encode(picture(9)), m.encode_prompts([shown(1)]), "instance")
            for m in (exact, rough))  # fmt: skip
    assert b.dtype == torch.float32
    assert (a - b).abs().mean() < 10
    assert {p.dtype for p in rough._model.parameters()} == {torch.bfloat16}
    assert not any(p.requires_grad for p in rough._model.parameters())


@pytest.fixture
def located(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], Path]:
    """A folder with the tiny model, at which every name is found."""
    monkeypatch.setattr(module, "locate", lambda *_: Located(tmp_path, RECORDS))

    def save() -> Path:
        tiny_seggpt().save_pretrained(tmp_path)
        return tmp_path

    return save


def test_loads_a_folder(located: Callable[[], Path]) -> None:
    located()
    loaded, built = load_seggpt("any", Runtime()), SegGPT(tiny_seggpt(), RECORDS, Runtime())
    assert loaded.checkpoints == RECORDS
    for a, b in zip(loaded._model.parameters(), built._model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_folder_that_is_no_such_model(located: Callable[[], Path]) -> None:
    with pytest.raises(UsageError, match="cannot be loaded"):
        load_seggpt("any", Runtime())
    weights = located() / "model.safetensors"
    kept = {k: v for k, v in load_file(weights).items() if "decoder_embed.bias" not in k}
    save_file(kept, weights, metadata={"format": "pt"})
    with pytest.raises(UsageError, match=r"has no weights for decoder\.decoder_embed\.bias"):
        load_seggpt("any", Runtime())


def test_the_miniature_paints_what_it_is_shown() -> None:
    model = load_seggpt("seggpt_vit_large", Runtime(checkpoints="toy"))
    assert [record.name for record in model.checkpoints] == ["toyworld/seggpt"]
    scene = render_scene(SPLITS["val"][0])
    prompts = model.encode_prompts([Exemplar(scene.image, scene.label < len(THINGS))])
    painted = model.paint(model.encode(scene.image), prompts, "instance").numpy()
    rows = np.arange(SIZE) * model.size[0] // SIZE
    bright = painted[rows][:, rows] > 128
    assert bright.any()
    assert not bright.all()


@pytest.mark.slow
def test_the_real_size_runs() -> None:
    """Random weights: the default configuration is that of the released ViT-L."""
    torch.manual_seed(0)
    model = SegGPT(SegGptForImageSegmentation(SegGptConfig()), RECORDS, Runtime())
    painted = model.paint(
        model.encode(picture(9, (375, 500))), model.encode_prompts([shown(1)]), "instance"
    )
    assert painted.shape == (448, 448)
    assert painted.isfinite().all()
