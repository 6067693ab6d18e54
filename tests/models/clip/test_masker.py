"""TCL's masker: its authors' file, random weights, and what fits no CLIP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.models.clip.masker import MaskerNetwork, load_masker
from ovbench.models.clip.model import CLIP, load_clip

HOME = "masker.image_encoder."
DECODER = f"{HOME}decoder.decoder.net."


@pytest.fixture
def clip(tiny_clips: None) -> CLIP:
    return load_clip("tiny-vit", "random", Runtime())


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[object], Path]:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def save(content: object) -> Path:
        path = tmp_path / "hub" / "checkpoints" / "tcl.pth"
        path.parent.mkdir(parents=True)
        torch.save(content, path)
        return path

    return save


def their_name(name: str) -> str:
    first, _, rest = name.partition(".")
    if first == "block":
        return f"{HOME}backbone.transformer.resblocks.11.{rest}"
    if first == "decoder":
        stage, layer, inside = rest.split(".", 2)
        inside = "gate.gate" if inside == "gate" else inside
        return f"{DECODER}{stage}.{'conv' if layer == '1' else 'conv2'}.{inside}"
    if first == "norm":
        return f"{HOME}decoder.image_proj.ln.{rest}"
    return {
        "proj": f"{HOME}decoder.image_proj.proj",
        "sharpness": "masker.sim2mask.w",
        "shift": "masker.sim2mask.b",
    }[name]


def by_the_authors(clip: CLIP) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Random weights by our names and by theirs."""
    own = {n: torch.randn(w.shape) for n, w in MaskerNetwork(clip.visual).state_dict().items()}
    return own, {their_name(name): weight for name, weight in own.items()}


def test_the_authors_file_is_read_by_name(clip: CLIP, put: Callable[[object], Path]) -> None:
    own, theirs = by_the_authors(clip)
    assert f"{DECODER}0.conv2.gate.gate" in theirs
    put({"model": theirs, "step": 50_000})
    found = load_masker("tcl_vitb16", clip, Runtime())
    read = found._network.state_dict()
    assert read.keys() == own.keys()
    assert all(torch.equal(read[name], own[name]) for name in own)
    assert found.checkpoints[0].role == "tcl"
    assert found.checkpoints[0].sha256


def test_weights_that_do_not_fit_are_named(clip: CLIP, put: Callable[[object], Path]) -> None:
    _, theirs = by_the_authors(clip)
    del theirs["masker.sim2mask.b"]
    theirs["clip_text_encoder.logit_scale"] = torch.zeros(())
    theirs[f"{HOME}decoder.image_proj.proj"] = torch.zeros(768, 512)
    put({"model": theirs})
    said = (
        r"lacks shift, and has in addition clip_text_encoder.logit_scale, and has in other "
        r"shapes proj$"
    )
    with pytest.raises(UsageError, match=said):
        load_masker("tcl_vitb16", clip, Runtime())


def test_random_weights_leave_the_clip_as_it_is(clip: CLIP) -> None:
    before = {n: w.clone() for n, w in clip.visual.state_dict().items()}
    masker = load_masker("random", clip, Runtime())
    images = torch.randn(2, 3, 32, 48)
    # places of four pixels: patches of eight are halved, those of sixteen twice
    assert masker.embed(clip.trunk(images)).shape == (2, 32, 8, 12)
    torch.testing.assert_close(masker.masks(torch.tensor([0.25])), torch.tensor([0.5]))
    masker._network.block.ln_1.weight.fill_(7)
    assert all(torch.equal(clip.visual.state_dict()[n], w) for n, w in before.items())


def test_half_precision_rounds_features_and_not_the_sigmoid(
    clip: CLIP, put: Callable[[object], Path]
) -> None:
    _, theirs = by_the_authors(clip)
    theirs["masker.sim2mask.w"] = torch.tensor(10.03)
    put({"model": theirs})
    half = Runtime(precision="bf16")
    masker = load_masker("tcl_vitb16", clip, half)
    found = masker.masks(torch.tensor(1.0))
    torch.testing.assert_close(found, (10.03 + theirs["masker.sim2mask.b"]).sigmoid())
    trunk = load_clip("tiny-vit", "random", half).trunk(torch.randn(1, 3, 32, 48))
    assert masker.embed(trunk).dtype == torch.float32


def test_the_miniature_fits_the_miniature_clip_alone(clip: CLIP) -> None:
    toy = Runtime(checkpoints="toy")
    its_clip = load_clip("ViT-B-16", "openai", toy)
    masker = load_masker("tcl_vitb16", its_clip, toy)
    assert masker.embed(its_clip.trunk(torch.randn(1, 3, 32, 48))).shape == (1, 64, 8, 12)
    with pytest.raises(UsageError, match="has in other shapes block"):
        load_masker("random", clip, toy)


def test_what_to_fetch_without_a_network(
    clip: CLIP, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    wanted = r"curl .*hub/checkpoints/tcl.pth https://github.com/kakaobrain/tcl/.*/v1.0.0/tcl.pth`"
    with pytest.raises(UsageError, match=wanted):
        load_masker("tcl_vitb16", clip, Runtime())
