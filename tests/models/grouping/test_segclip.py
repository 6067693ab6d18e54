"""SegCLIP's loader: the authors' file, random weights; and what its network takes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_segclip import tiny_segclip
from torch import Tensor

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.grouping import segclip
from ovbench.models.grouping.segclip import SegCLIP, SegCLIPNetwork, load_segclip

RECORD = CheckpointRecord("segclip", "tiny", None, None)
THEIRS = (
    ("gathering.centres", "semantic_center"),
    ("gathering.norm_centres", "cross_ln"),
    ("gathering.norm_key", "k_ln"),
    ("gathering.key", "k_conv"),
    ("gathering.value", "v_conv"),
    ("gathering.mixing.0", "proj_o.ln"),
    ("gathering.mixing.1", "proj_o.mlp.fc1"),
    ("gathering.mixing.3", "proj_o.mlp.fc2"),
    ("gathering.rounds", "cross_att"),
    ("gathering.", ""),
    ("ln_1_kv", "ln_k"),
    ("ln_1", "ln_x"),
)
TOWER = "clip.visual.transformer."


def by_the_authors(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The other way round."""
    found = {}
    for own, weight in weights.items():
        name = own
        if block := re.fullmatch(r"clip\.visual\.transformer\.resblocks\.(\d+)\.(.*)", own):
            number, rest = int(block[1]), block[2]
            name = f"{TOWER}layers0.{number}.{rest}"
            if number >= 10:
                name = f"{TOWER}layers2.{number - 10}.{rest}"
        elif own.startswith("gathering."):
            for ours, theirs in THEIRS:
                name = name.replace(ours, theirs)
            name = f"{TOWER}semantic_layer2.{name}"
        found[name] = weight
    return found


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[object], None]:
    """Save what the authors' file holds; a tiny network stands for the published one."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(segclip, "_new", tiny_segclip)

    def save(content: object) -> None:
        path = tmp_path / "hub" / "checkpoints" / "segclip.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, path)

    return save


def test_the_authors_file_is_read_by_name(put: Callable[[object], None]) -> None:
    own = {name: torch.rand(w.shape) for name, w in tiny_segclip().state_dict().items()}
    theirs = by_the_authors(own)
    assert f"{TOWER}layers0.9.attn.in_proj_weight" in theirs
    assert f"{TOWER}layers2.1.mlp.c_fc.bias" in theirs
    assert f"{TOWER}semantic_layer2.cross_att.1.ln_k.weight" in theirs
    assert f"{TOWER}semantic_layer2.proj_o.mlp.fc2.weight" in theirs
    assert {"clip.logit_scale", "clip.token_embedding.weight", "clip.visual.proj"} < theirs.keys()
    training = ("vis_mae_decoder.mask_token", f"{TOWER}layers_mae2.0.ln_1.bias",
                f"{TOWER}reconstruct_layer2.rec_proj_a.a_fc.bias")  # fmt: skip
    put({**theirs, **dict.fromkeys(training, torch.zeros(1))})
    found = load_segclip("segclip_vitb16", Runtime())
    read = found._network.state_dict()
    assert read.keys() == own.keys()
    assert all(torch.equal(read[name], own[name]) for name in own)
    assert found.checkpoints[0].name == "segclip.bin"
    assert found.checkpoints[0].sha256


def test_weights_that_lack_or_are_too_many_are_named(put: Callable[[object], None]) -> None:
    theirs = by_the_authors(tiny_segclip().state_dict())
    del theirs[f"{TOWER}semantic_layer2.semantic_center"]
    theirs[f"{TOWER}layers2.2.ln_1.bias"] = torch.zeros(32)
    put(theirs)
    said = (
        r"lacks gathering\.centres, and has in addition "
        r"clip\.visual\.transformer\.resblocks\.12\.ln_1\.bias$"
    )
    with pytest.raises(UsageError, match=said):
        load_segclip("segclip_vitb16", Runtime())


def test_random_weights_are_the_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    body = tiny_segclip().clip
    monkeypatch.setattr(segclip, "_new", lambda: SegCLIPNetwork(body))
    made = [load_segclip("random", Runtime(seed=seed)) for seed in (1, 1, 2)]
    assert made[0].checkpoints[0].sha256 is None
    one, same, other = (m._network.gathering.centres for m in made)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("name", ["segclip_vitb16", "random"])
def test_there_is_no_miniature(name: str) -> None:
    with pytest.raises(UsageError, match=r"no miniature of segclip; .* --checkpoints real$"):
        load_segclip(name, Runtime(checkpoints="toy"))


def test_what_to_fetch_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match=r"curl .*/checkpoint_v0/segclip\.bin` .* there$"):
        load_segclip("segclip_vitb16", Runtime())


@torch.inference_mode()
def test_any_size_is_taken_and_pictures_do_not_see_each_other() -> None:
    model = SegCLIP(tiny_segclip(), RECORD, Runtime())
    texts = model.embed_queries(["cat", "a dog"], ["a photo of a {}.", "a {}"])
    assert texts.shape == (2, 16)
    torch.testing.assert_close(texts.norm(dim=-1), torch.ones(2))
    for size in ((32, 32), (16, 44), (41, 70)):
        pictures = torch.randn(3, 3, *size)
        found = model.groups(pictures)
        assert found.vectors.shape == (3, 8, 16)
        assert found.shares.shape == (3, 8, size[0] // 8, size[1] // 8)
        torch.testing.assert_close(found.shares.sum(1), torch.ones(3, size[0] // 8, size[1] // 8))
        torch.testing.assert_close(found.image.norm(dim=-1), torch.ones(3))
        alone = model.groups(pictures[1:2])
        torch.testing.assert_close(alone.vectors, found.vectors[1:2], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(alone.shares, found.shares[1:2], rtol=1e-3, atol=1e-4)
    assert model.logit_scale <= 100
    assert model.patch == 8
    assert model.mean == (0.4, 0.4, 0.4)
