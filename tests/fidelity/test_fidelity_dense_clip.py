"""The dense-CLIP family against what the released functions computed from random weights."""

from __future__ import annotations

from ast import literal_eval

import numpy as np
import oracles
import pytest
import torch
from oracles import built, picture, require_close, rows, vectors
from torch.nn import functional

from ovbench.adapters.dense_clip.clearclip import ClearCLIP
from ovbench.adapters.dense_clip.naclip import NACLIP
from ovbench.adapters.dense_clip.sclip import SCLIP
from ovbench.models.pixels.labels import decide
from ovbench.models.pixels.windows import Windows

SKELETONS = [
    "s1_synonyms_prob",
    "s2_area",
    "s3_plain_odd_crop",
    "s4_window_larger_than_image",
    "s5_whole_image",
    "s6_pad_to_patch",
    "s7_pad_to_56",
]
MULTIPLES = {"s6_pad_to_patch": 16, "s7_pad_to_56": 56}


@pytest.mark.parametrize("shape", ["square", "wide"])
def test_what_enters_the_last_block(shape: str) -> None:
    trunk = oracles.clip().trunk(picture(shape), positions="dino")
    require_close(trunk.tokens, vectors("sclip")[f"{shape}.tokens_into_last_block"])


@pytest.mark.parametrize("shape", ["square", "wide"])
def test_sclip(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = built(monkeypatch, SCLIP).features(picture(shape))
    require_close(rows(found), vectors("sclip")[f"{shape}.dense"][:, 1:])


@pytest.mark.parametrize("key", sorted(vectors("clearclip")))
def test_clearclip_and_its_variants(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shape, attention, block, *last = key.split(".")
    looks = {"clearclip": "query", "vanilla": "own", "sclip": "sclip", "maskclip": "value"}
    whole = block == "full"
    method = built(
        monkeypatch,
        ClearCLIP,
        attention=looks[attention],
        residual=whole,
        mlp=whole,
        last_blocks=2 if last else 1,
    )
    require_close(rows(method.features(picture(shape))), vectors("clearclip")[key])


@pytest.mark.parametrize("shape", ["square", "wide"])
def test_naclip(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = built(monkeypatch, NACLIP).features(picture(shape))
    require_close(rows(found), vectors("naclip")[f"{shape}.dense"][:, 1:])


@pytest.mark.parametrize("name", SKELETONS)
def test_from_windows_to_labels(name: str) -> None:
    """Window by window, the average enlarged, the threshold and the share of the area."""
    file, said = vectors(f"skeleton/{name}"), oracles.header(f"skeleton/{name}")
    pixels, size = file["pixels"], literal_eval(said["original_size"])
    windows = Windows.over(
        (pixels.shape[2], pixels.shape[3]),
        int(said["crop"]),
        int(said["stride"]),
        MULTIPLES.get(name, 1),
    )
    patches = functional.avg_pool2d(windows.cut(pixels[0]), 16)
    found = functional.normalize(torch.einsum("bchw,cd->bdhw", patches, file["encoder"]), dim=1)
    scores = windows.merge(torch.einsum("qd,bdhw->bqhw", file["queries"], found), size)
    cosines = file["cosines_original_size"]
    assert (scores.whole()[:, ::4, ::4] - cosines).abs().max() < 2e-3  # they are in float16
    labels = decide(
        scores,
        file["query_class"].numpy(),
        dtype=np.dtype(np.uint8),
        softmax_scale=float(said["logit_scale"]),
        background_below=float(said["prob_thd"]) or None,
        area_share=literal_eval(said["area_thd"]),
    )
    sure = file["sure"].numpy().astype(bool)
    assert sure.mean() > 0.9
    np.testing.assert_array_equal(labels[sure], file["labels"].numpy()[sure])
