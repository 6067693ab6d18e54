"""MaskCLIP+'s students against timm's ResNet, and its evaluation against the steps written out.

The released network is mmsegmentation's, which timm's equals on equal weights.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import require_close
from timm.models.resnet import Bottleneck, ResNet
from tiny_student import JOINT, be_tiny, tiny_student
from torch import Tensor
from torch.nn import functional

from ovbench.adapters.pixelwise import maskclip_plus as adapter
from ovbench.adapters.pixelwise.maskclip_plus import MaskCLIPPlus
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import override
from ovbench.models.pixelwise.student import Student, StudentNetwork

TEXT = functional.normalize(torch.randn(5, JOINT, generator=torch.Generator().manual_seed(1)))
STEM = {"stem.0": "conv1.0", "stem.1": "conv1.1", "stem.3": "conv1.3", "stem.4": "conv1.4",
        "stem.6": "conv1.6", "stem.7": "bn1"}  # fmt: skip


def timm_name(name: str) -> str:
    layer, _, kind = name.rpartition(".")
    return f"{STEM[layer]}.{kind}" if layer in STEM else name


@torch.inference_mode()
def test_vectors_are_those_of_timms_resnet_and_four_branches() -> None:
    """At the released size, on pictures that are no multiple of 8."""
    size = (75, 101)
    network = tiny_student()
    timms = ResNet(
        Bottleneck, [3, 4, 23, 3], output_stride=8, stem_width=32, stem_type="deep", num_classes=0
    ).eval()
    own = network.state_dict()
    body = {timm_name(n): w for n, w in own.items() if not n.startswith("head.")}
    timms.load_state_dict(body)
    pixels = torch.randn(1, 3, *size)
    places = timms.forward_features(pixels)
    expected = torch.zeros(1, JOINT, *places.shape[2:])
    for branch, dilation in enumerate((6, 12, 18, 24)):
        home = f"head.{branch}"
        mapped = functional.conv2d(
            places, own[f"{home}.conv.weight"], padding=dilation, dilation=dilation
        )
        mean, variance = own[f"{home}.bn.running_mean"], own[f"{home}.bn.running_var"]
        mapped = functional.batch_norm(
            mapped, mean, variance, own[f"{home}.bn.weight"], own[f"{home}.bn.bias"]
        )
        expected += mapped.clamp(min=0)
    found = Student(network, (), Runtime()).embed(pixels)
    assert found.shape[2:] == (10, 13)
    require_close(found, expected)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> StudentNetwork:
    be_tiny(monkeypatch)
    return tiny_student()


@pytest.mark.parametrize(("size", "short", "long"), [((70, 101), 60, 2048), ((90, 50), 64, 64)])
@torch.inference_mode()
def test_scores_against_the_steps_written_out(
    network: StudentNetwork,
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
    short: int,
    long: int,
) -> None:
    monkeypatch.setattr(adapter, "load_clip", lambda *_: type("Clip", (), {"checkpoint": None}))
    monkeypatch.setattr(adapter, "load_student", lambda *_: Student(network, (), Runtime()))
    changes = {"short_side": short, "max_long_side": long}
    method = MaskCLIPPlus(override(MaskCLIPPlus.Settings, changes), Runtime())
    method.text = TEXT
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    found, expected = method.scores(image).whole(), plain(image, network, short, long)
    require_close(found, expected)
    assert torch.equal(found.argmax(0), expected.argmax(0))


def plain(image: Image, network: StudentNetwork, short: int, long: int) -> Tensor:
    """As the released configuration tests: the whole picture, enlarged twice."""
    height, width = image.shape[:2]
    factor = min(short / min(height, width), long / max(height, width))
    inner = int(height * factor + 0.5), int(width * factor + 0.5)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    pixels = functional.interpolate(pixels, inner, mode="bilinear").round()
    mean = torch.tensor([123.675, 116.28, 103.53])[:, None, None]
    std = torch.tensor([58.395, 57.12, 57.375])[:, None, None]
    vectors = network((pixels - mean) / std)
    logits = functional.conv2d(vectors, TEXT[:, :, None, None])
    logits = functional.interpolate(logits, inner, mode="bilinear")
    return functional.interpolate(logits, (height, width), mode="bilinear")[0]
