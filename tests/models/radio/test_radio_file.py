"""RADIO as its authors' files have it: the numbers of the steps written out, by other names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from tiny_radio import TEACHERS as TAUGHT
from tiny_radio import tiny_radio, write
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.models.radio.file import read_radio
from ovbench.models.radio.folder import read_folder
from ovbench.models.radio.heads import head_for, settled
from ovbench.models.radio.model import SAM, TEACHERS, TEXT, Radio, load_radio

IMAGES = torch.randn(2, 3, 48, 80, generator=torch.Generator().manual_seed(1))


def read(path: Path) -> Radio:
    return Radio(read_radio(path, TEACHERS), (), Runtime())


@pytest.mark.parametrize("norm", [False, True])
@torch.inference_mode()
def test_patches_and_heads_are_those_of_the_steps_written_out(norm: bool, tmp_path: Path) -> None:
    tiny = tiny_radio(norm=norm)
    radio = read(write(tmp_path / "tiny.pth.tar", tiny, model_norm=norm))
    expected = tiny(IMAGES)
    found = radio.features(IMAGES)
    assert found.shape == (2, 32, 3, 5)
    torch.testing.assert_close(found.flatten(2).mT, expected, atol=1e-5, rtol=1e-5)
    assert radio.mean == pytest.approx([0.48, 0.46, 0.41])
    assert radio.std == pytest.approx([0.27, 0.26, 0.28])
    for head, theirs in ((TEXT, tiny._heads[1]), (SAM, tiny._feature_projections[2])):
        mapped = radio.mapped(found, head)
        assert radio.width_of(head) == mapped.shape[1]
        torch.testing.assert_close(mapped.flatten(2).mT, theirs(expected), atol=1e-5, rtol=1e-5)


def test_a_norm_that_is_not_used_is_left_out(tmp_path: Path) -> None:
    with_norm = read(write(tmp_path / "a.pth.tar", tiny_radio(norm=True)))
    assert isinstance(with_norm._norm, nn.Identity)


@torch.inference_mode()
def test_averaged_weights_come_first_and_heads_may_have_names(tmp_path: Path) -> None:
    tiny = tiny_radio()
    named = {
        name.replace("_heads.1.", "_heads.siglip2."): one.half()
        for name, one in tiny.state_dict().items()
    }
    path = write(tmp_path / "tiny.pth.tar", tiny)
    content = torch.load(path, weights_only=False)
    torch.save({**content, "state_dict": {}, "state_dict_ema": named}, path)
    radio = read(path)
    expected = tiny._heads[1](tiny(IMAGES)).mT.reshape(2, 24, 3, 5)
    torch.testing.assert_close(
        radio.mapped(radio.features(IMAGES), TEXT), expected, atol=2e-2, rtol=2e-2
    )


def test_learned_norms_are_settled_by_one_more_step_of_the_power_method() -> None:
    """PyTorch's own spectral norm is the reference: it divides by what it estimated."""
    torch.manual_seed(0)
    layer = nn.Linear(6, 4)
    normed = spectral_norm(nn.Linear(6, 4))
    kept = normed.parametrizations.weight
    with torch.no_grad():
        kept.original.copy_(layer.weight)
        left, right = kept[0]._u.clone(), kept[0]._v.clone()
        expected = normed.train().weight.detach() * (torch.tensor(0.7).exp() + 1).log().add(0.05)
    stored = {
        "fc1.bias": layer.bias.detach(),
        "fc1.parametrizations.weight.original": layer.weight.detach(),
        "fc1.parametrizations.weight.0.scale": torch.tensor([[0.7]]),
        "fc1.parametrizations.weight.0._u": left,
        "fc1.parametrizations.weight.0._v": right,
        "fc1.parametrizations.weight.0._sn_version": torch.tensor(2),
    }
    found = settled(stored, 1e-12)
    assert sorted(found) == ["fc1.bias", "fc1.weight"]
    torch.testing.assert_close(found["fc1.weight"], expected)
    del stored["fc1.parametrizations.weight.0._sn_version"]  # the first version has no softplus
    first = settled(stored, 1e-12)["fc1.weight"]
    torch.testing.assert_close(first / first.norm(), expected / expected.norm())
    assert float(torch.linalg.matrix_norm(first, 2)) == pytest.approx(0.7, rel=0.1)


def test_queries_and_keys_have_norms_of_their_own_and_values_may_have_none() -> None:
    torch.manual_seed(0)
    weight, prefix = torch.randn(6, 2), "attn.qkv.parametrizations.weight."
    stored: dict[str, torch.Tensor] = {f"{prefix}original": weight}
    for i in range(2):
        stored[f"{prefix}0.parts.{i}.scale"] = torch.tensor([[2.0]])
        stored[f"{prefix}0.parts.{i}._u"] = torch.randn(2)
        stored[f"{prefix}0.parts.{i}._v"] = torch.randn(2)
    found = settled(stored)["attn.qkv.weight"]
    assert torch.equal(found[4:], weight[4:])
    for i in range(2):
        share, own = found[2 * i : 2 * i + 2], weight[2 * i : 2 * i + 2]
        ratio = share / own
        torch.testing.assert_close(ratio, ratio[:1, :1].expand(2, 2))
        assert ratio[0, 0] != 1


def test_the_depth_of_a_head_is_read() -> None:
    head = head_for(tiny_radio()._heads[0].state_dict())
    assert head is not None
    assert len(head.blocks) == 1
    assert head_for({"fc1.weight": torch.zeros(2, 2), "fc2.weight": torch.zeros(2, 2)}) is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"model": "vit_giant", "model_kwargs": {}}, "is a RADIO on 'vit_giant'; vit_base"),
        ({"teachers": TAUGHT[:1]}, "has no head for siglip2; it was taught by clip"),
        ({"teachers": []}, "has no head for siglip2"),
    ],
)
def test_what_is_not_read(changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = write(tmp_path / "tiny.pth.tar", tiny_radio(), **changed)
    with pytest.raises(UsageError, match=said):
        read(path)


def test_files_of_others(tmp_path: Path) -> None:
    path = tmp_path / "other.pth.tar"
    torch.save({"state_dict": {"a": torch.zeros(1)}}, path)
    with pytest.raises(UsageError, match="is none of RADIO's files: it lacks state_dict or args"):
        read(path)
    torch.save([1, 2], path)
    with pytest.raises(UsageError, match="is none of RADIO's files"):
        read(path)
    network = tiny_radio()
    network.register_module("_feature_normalizer", nn.Linear(2, 2))
    with pytest.raises(UsageError, match="whose features are normalised"):
        read(write(path, network))
    network = tiny_radio()
    del network.base_model.patch_generator.embedder
    with pytest.raises(UsageError, match=r"it lacks 'patch_generator\.embedder\.weight'"):
        read(write(path, network))
    network = tiny_radio()
    network.base_model.other = nn.Linear(2, 2)
    with pytest.raises(UsageError, match=r"it has in addition other\.bias, other\.weight"):
        read(write(path, network))


@torch.inference_mode()
def test_the_miniature_has_both_heads() -> None:
    radio = load_radio("any", 64, Runtime(checkpoints="toy"))
    assert (radio.patch_size, radio.checkpoints[0].role) == (8, "radio")
    found = radio.features(torch.randn(1, 3, 96, 120))
    assert found.shape == (1, radio.width, 12, 15)
    for head, width in ((TEXT, 64), (SAM, 128)):
        assert radio.width_of(head) == width
        assert radio.mapped(found, head).shape == (1, width, 12, 15)
    bare = load_radio("any", None, Runtime(checkpoints="toy"))
    assert torch.equal(
        bare.features(torch.ones(1, 3, 96, 96)), radio.features(torch.ones(1, 3, 96, 96))
    )


def test_a_folder_with_other_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"hidden_size": 8, "num_hidden_layers": 1, '
                                          '"num_attention_heads": 1}\n')  # fmt: skip
    (tmp_path / "model.safetensors").write_bytes(save({"trunk.a": torch.zeros(1)}))
    with pytest.raises(UsageError, match=r"it lacks trunk\..* and has in addition trunk\.a"):
        read_folder(tmp_path, {})
    with pytest.raises(UsageError, match="has no head for text"):
        read_folder(tmp_path, TEACHERS)
