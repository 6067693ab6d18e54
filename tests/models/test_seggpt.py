"""SegGPT, against transformers' own pipeline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_seggpt import tiny_seggpt
from transformers import SegGptConfig, SegGptForImageSegmentation, SegGptImageProcessor

from ovbench.errors import UsageError
from ovbench.harness.protocol import CheckpointRecord, Exemplar, Image, Runtime
from ovbench.models import seggpt as module
from ovbench.models.checkpoints import Located
from ovbench.models.seggpt import Embedding, SegGPT, load_seggpt
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.world import SIZE, SPLITS, THINGS

RECORDS = (CheckpointRecord("seggpt", "tiny", None, None),)


def picture(seed: int, size: tuple[int, int] = (40, 60)) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def shown(seed: int) -> Exemplar:
    return Exemplar(picture(seed), np.random.default_rng(seed).random((40, 60)) < 0.5)


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
@pytest.mark.parametrize("count", [1, 3])
def test_paints_what_transformers_paints(count: int, embedding: Embedding) -> None:
    exemplars, image = [shown(n) for n in range(count)], picture(9, (50, 30))
    model = SegGPT(tiny_seggpt(), RECORDS, Runtime())
    painted = model.paint(model.encode(image), model.encode_prompts(exemplars), embedding)
    assert painted.shape == model.size == (32, 32)
    expected = theirs(exemplars, image, embedding)
    assert expected.unique().numel() > 20
    # Theirs are cut to whole numbers.
    assert ((painted - expected) > -1e-2).all()
    assert ((painted - expected) < 1.01).all()


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
    mean = torch.tensor(model._processor.image_mean)[:, None, None]
    std = torch.tensor(model._processor.image_std)[:, None, None]
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
