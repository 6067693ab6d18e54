"""dino.txt against what the released towers and the released notebook computed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from oracles import header, require_close, vectors
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from ovbench.adapters import dinotxt as adapter
from ovbench.adapters.dinotxt import DinoTxtSegmenter, DinoTxtSettings
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.patches.encoder import PatchEncoder
from ovbench.models.towers.dinotxt import DinoTxt, _tokens, read_dinotxt

IMAGE = vectors("dinotxt_inputs")["image"].numpy()


def part(name: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(f"{name}."): one
        for key, one in vectors("dinotxt_inputs").items()
        if key.startswith(f"{name}.")
    }


def encoder() -> PatchEncoder:
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    config = Dinov2WithRegistersConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        num_register_tokens=4,
    )
    model = Dinov2WithRegistersModel(config)
    model.load_state_dict(part("encoder"))
    return PatchEncoder(model, (), Runtime(), "antialias")


@pytest.fixture
def model(tmp_path: Path) -> DinoTxt:
    """From files as DINOv2's are."""
    files = [tmp_path / f"{name}.pth" for name in ("head", "text")]
    for file in files:
        torch.save(part(file.stem), file)
    return DinoTxt(encoder(), *read_dinotxt(files, 32, 2), (), Runtime())


def built(model: DinoTxt, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> DinoTxtSegmenter:
    """With the released text embeddings, prompts aside."""
    monkeypatch.setattr(adapter, "load_dinotxt", lambda *_: model)
    sizes = {"short_side": 48, "window": 40, "window_stride": 20}
    method = DinoTxtSegmenter(DinoTxtSettings(**{**sizes, **settings}), Runtime())
    text = vectors("dinotxt")["text"]
    halves = normalize(text[:, text.shape[1] // 2 :], dim=1)
    monkeypatch.setattr(method, "embed", lambda _: halves)
    method.prepare(Vocabulary.of(*(f"class {i}" for i in range(len(text)))))
    return method


@torch.inference_mode()
def test_texts_are_embedded_as_released(model: DinoTxt) -> None:
    tokens = vectors("dinotxt_inputs")["tokens"].long()
    expected = vectors("dinotxt")["text"]
    require_close(model._text(tokens), expected)
    # what goes with patches is the second half
    require_close(model._embedded(tokens), expected[:, 32:])


def test_texts_are_tokenized_as_released() -> None:
    expected = vectors("dinotxt")["token_ids"]
    (found,) = _tokens(json.loads(header("dinotxt")["texts"]))
    assert torch.equal(found.to(torch.int32), expected)


@torch.inference_mode()
def test_patches_pass_the_released_head(model: DinoTxt, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = built(model, monkeypatch)._input(IMAGE)
    stretched = interpolate(pixels[None], (70, 56), mode="bicubic")
    found = model.places(stretched).flatten(2).mT
    require_close(found, vectors("dinotxt")["patches"])


@pytest.mark.parametrize("patches", ["head", "encoder"])
@torch.inference_mode()
def test_windows_are_merged_as_in_the_notebook(
    model: DinoTxt, monkeypatch: pytest.MonkeyPatch, patches: str
) -> None:
    method = built(model, monkeypatch, patches=patches)
    pixels = method._input(IMAGE)
    windows = method._windows(pixels)
    crops = windows.cut(pixels)
    maps, _ = method.scores(method.read(crops), crops, torch.arange(6), False)
    found = windows.average(adapter._probabilities(maps, windows))
    require_close(found[:1], vectors("dinotxt")[f"slide_{patches}"])


@pytest.mark.parametrize("patches", ["head", "encoder"])
@pytest.mark.parametrize("mode", ["slide", "whole"])
def test_labels_are_the_notebooks(
    model: DinoTxt, monkeypatch: pytest.MonkeyPatch, patches: str, mode: str
) -> None:
    window = {} if mode == "slide" else {"window": 0}
    (labels,) = built(model, monkeypatch, patches=patches, **window).segment([IMAGE])
    expected = vectors("dinotxt")[f"labels_{mode}_{patches}"].numpy()
    assert labels.shape == expected.shape == IMAGE.shape[:2]
    assert (labels == expected).mean() >= 0.999
