"""LSeg's network: its authors' file, random weights, and what is not of such a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_lseg import by_the_authors, tiny_lseg
from torch import Tensor

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.models.pixelwise import lseg
from ovbench.models.pixelwise.lseg import load_lseg


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lseg, "_released", tiny_lseg)


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[object], Path]:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def save(content: object) -> Path:
        path = tmp_path / "hub" / "checkpoints" / "demo_e200.ckpt"
        path.parent.mkdir(parents=True)
        torch.save(content, path)
        return path

    return save


def random_weights() -> dict[str, Tensor]:
    return {
        name: torch.randn(weight.shape) if weight.is_floating_point() else weight
        for name, weight in tiny_lseg().state_dict().items()
    }


def test_the_authors_file_is_read_by_name(put: Callable[[object], Path]) -> None:
    own = random_weights()
    theirs = by_the_authors(own)
    assert "net.scratch.refinenet4.resConfUnit1.bn2.running_var" in theirs
    assert "net.pretrained.model.blocks.3.attn.qkv.bias" in theirs
    left_out = {
        "net.clip_pretrained.logit_scale": torch.zeros(()),
        "net.pretrained.model.head.weight": torch.zeros(1000, 24),
    }
    put({"state_dict": {**theirs, **left_out}, "epoch": 199})
    found = load_lseg("lseg_demo_e200", Runtime())
    parts = {"encoder": found._encoder._model, "neck": found._neck}
    read = {f"{part}.{n}": w for part, one in parts.items() for n, w in one.state_dict().items()}
    assert read.keys() == own.keys()
    assert all(torch.equal(read[name], own[name]) for name in own)
    assert found.checkpoints[0].role == "lseg"
    assert found.checkpoints[0].sha256


def test_weights_that_do_not_fit_are_named(put: Callable[[object], Path]) -> None:
    theirs = by_the_authors(random_weights())
    del theirs["net.scratch.refinenet2.out_conv.bias"]
    theirs["net.scratch.head_block.depthwise.depthwise.weight"] = torch.zeros(1, 1, 3, 3)
    theirs["net.scratch.head1.weight"] = torch.zeros(768, 16, 1, 1)
    put({"state_dict": theirs})
    said = (
        r"lacks neck.levels.1.out.bias, and has in addition net.scratch.head_block.depthwise."
        r"depthwise.weight, and has in other shapes neck.to_text.weight$"
    )
    with pytest.raises(UsageError, match=said):
        load_lseg("lseg_demo_e200", Runtime())


def test_vectors_are_of_unit_length_and_of_random_weights() -> None:
    found = load_lseg("random", Runtime())
    assert found.multiple == 32
    vectors = found.embed(torch.randn(2, 3, 32, 64))
    assert vectors.shape == (2, found.joint, 16, 32)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2, 16, 32))
    again = load_lseg("random", Runtime()).embed(torch.zeros(1, 3, 32, 32))
    assert torch.equal(again, found.embed(torch.zeros(1, 3, 32, 32)))


def test_the_miniature_is_a_neck_on_the_miniature_dino() -> None:
    found = load_lseg("lseg_demo_e200", Runtime(checkpoints="toy"))
    assert [record.role for record in found.checkpoints] == ["dino", "lseg"]
    assert found.side % found.multiple == 0
    assert found.embed(torch.zeros(1, 3, 16, 32)).shape == (1, found.joint, 16, 32)


def test_what_to_fetch_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UsageError, match=r"demo_e200.ckpt .*drive.google.com.*checkpoints, or use"):
        load_lseg("lseg_demo_e200", Runtime())
