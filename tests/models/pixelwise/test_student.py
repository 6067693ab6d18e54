"""MaskCLIP+'s students: the authors' files, random weights, and what is not of such a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_student import JOINT, be_tiny, by_the_authors, tiny_student
from torch import Tensor

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.models.clip.model import CLIP, load_clip
from ovbench.models.pixelwise.student import load_student

STUFF = "maskclip_plus_vit16_deeplabv2_r101-d8_512x512_8k_coco-stuff164k.pth"


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    be_tiny(monkeypatch)


@pytest.fixture
def clip(tiny_clips: None) -> CLIP:
    return load_clip("tiny-vit", "random", Runtime())


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[object], None]:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def save(content: object) -> None:
        path = tmp_path / "hub" / "checkpoints" / STUFF
        path.parent.mkdir(parents=True)
        torch.save(content, path)

    return save


def random_weights(depth: int) -> dict[str, Tensor]:
    return {
        name: torch.randn(weight.shape) if weight.is_floating_point() else weight
        for name, weight in tiny_student(depth).state_dict().items()
    }


@pytest.mark.parametrize("depth", [50, 101])
def test_the_authors_file_is_read_by_name_and_says_its_depth(
    depth: int, clip: CLIP, put: Callable[[object], None]
) -> None:
    own = random_weights(depth)
    theirs = by_the_authors(own)
    assert ("backbone.layer3.2.conv1.weight" in theirs) == (depth == 101)
    assert "decode_head.decode_module.aspp_modules.3.bn.running_var" in theirs
    put({"state_dict": theirs, "meta": {"iter": 8000, "CLASSES": ("person",)}})
    found = load_student("maskclip_plus_vitb16_cocostuff", clip, Runtime())
    read = found._network.state_dict()
    assert read.keys() == own.keys()
    assert all(torch.equal(read[name], own[name]) for name in own)
    assert found.joint == JOINT
    assert found.checkpoints[0].role == "maskclip_plus"


def test_weights_that_do_not_fit_are_named(clip: CLIP, put: Callable[[object], None]) -> None:
    theirs = by_the_authors(random_weights(50))
    del theirs["backbone.layer1.0.bn2.bias"]
    theirs["decode_head.bg_embeddings"] = torch.zeros(1, JOINT)  # of the students that saw labels
    theirs["backbone.stem.0.weight"] = torch.zeros(64, 3, 7, 7)
    put({"state_dict": theirs})
    said = (
        r"lacks layer1.0.bn2.bias, and has in addition decode_head.bg_embeddings, and has in "
        r"other shapes stem.0.weight$"
    )
    with pytest.raises(UsageError, match=said):
        load_student("maskclip_plus_vitb16_cocostuff", clip, Runtime())


def test_random_weights_lie_in_the_clips_space(clip: CLIP) -> None:
    found = load_student("random", clip, Runtime())
    assert found.joint == 32
    vectors = found.embed(torch.randn(1, 3, 33, 50))
    assert vectors.shape == (1, 32, 5, 7)
    again = load_student("random", clip, Runtime())
    assert torch.equal(again._network.stem[0].weight, found._network.stem[0].weight)


def test_there_is_no_miniature(clip: CLIP) -> None:
    with pytest.raises(UsageError, match=r"no miniature of maskclip_plus; .*--checkpoints real$"):
        load_student("random", clip, Runtime(checkpoints="toy"))


def test_what_to_fetch_by_hand(clip: CLIP, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UsageError, match=rf"{STUFF} .*sharepoint.com.*hub/checkpoints$"):
        load_student("maskclip_plus_vitb16_cocostuff", clip, Runtime())
