"""ResCLIP against what the released functions computed from random weights."""

from __future__ import annotations

import pytest
import torch
from oracles import built, picture, require_close, rows, vectors

from ovbench.adapters.dense_clip.resclip import ResCLIP
from ovbench.adapters.parts.affinity import label_affinity

AS_RUN = {"rcs_weight": 0.3, "sfr_threshold": 0.5}
HALF = 5e-5
"""The released code multiplies its matrix in float16, and this one in float32."""


@pytest.mark.parametrize("shape", ["small", "wide"])
def test_rcs(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = built(monkeypatch, ResCLIP, sfr=False).features(picture(shape))
    require_close(rows(found), vectors("resclip")[f"{shape}.dense_rcs"][:, 1:])


@pytest.mark.parametrize(
    "key", ["small.dense_full", "small.dense_full_keep_all", "wide.dense_full"]
)
def test_both_parts(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shape, kind = key.split(".")
    method = built(monkeypatch, ResCLIP, check_path=not kind.endswith("keep_all"), **AS_RUN)
    method.text = vectors("resclip_inputs")["queries"]
    found = method.features(picture(shape))
    require_close(rows(found), vectors("resclip")[key][:, 1:], HALF)


@pytest.mark.parametrize("shape", ["small", "wide"])
def test_what_patches_answer_first(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method = built(monkeypatch, ResCLIP, sfr=False, **AS_RUN)
    method.text = vectors("resclip_inputs")["queries"]
    windows = picture(shape)
    answers = method.answers(windows, method.features(windows))
    expected = vectors("resclip")[f"{shape}.patch_labels"]
    assert torch.equal(answers[0], expected.flatten().long())


@pytest.mark.parametrize(("labels", "key"), [("labels", "sfr_of_labels"), ("small", "small.sfr")])
def test_equal_answers(labels: str, key: str) -> None:
    """The grid of the first has lines that pass in the middle of two patches."""
    given = vectors("resclip_inputs") | {"small": vectors("resclip")["small.patch_labels"]}
    label = given[labels].long()
    grid = (label.shape[0], label.shape[1])
    found = label_affinity(label.reshape(1, -1), grid, sigma=5.0, check_path=True)
    require_close(found, vectors("resclip")[key][:, 1:, 1:])
