"""MaskCLIP+'s students: DeepLab networks that learned from what MaskCLIP says of every pixel.

Zhou, Loy and Dai, "Extract Free Dense Labels from CLIP" (ECCV 2022); released code:
github.com/chongzhou96/MaskCLIP. A ResNet with three convolutions in its stem, dilated to an eighth
of the picture's size, and four dilated convolutions, whose sum lies in the space of CLIP's texts:
Chen et al., "DeepLab" (TPAMI 2018).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.clip.model import CLIP
from ovbench.models.precision import DTYPES, frozen
from ovbench.models.weights.authors import fitted, weights_in
from ovbench.models.weights.checkpoints import locate
from ovbench.models.weights.untrained import seeded, untrained

ROLE = "maskclip_plus"

EXPANSION = 4
"""How much wider a block's output is than its inside."""

STAGES = 4

STEM = 32
"""Channels of the stem, of which twice as many leave it."""

DILATIONS = (6, 12, 18, 24)
"""Of the head's convolutions, in places."""


class Sizes(NamedTuple):
    """Of a student.

    Attributes:
        blocks: of the four stages.
        joint: of the space of texts.
    """

    blocks: tuple[int, int, int, int]
    joint: int


RESNET_50 = (3, 4, 6, 3)
RESNET_101 = (3, 4, 23, 3)

# The teacher and the texts of its classes, which stay as CLIP has them, and a counter of steps.
_LEFT_OUT = re.compile(
    r"decode_head\.(clip\..+|(q_|k_|v_|c_)?proj\..+|text_embeddings|_iter_counter)"
)
_BRANCH = re.compile(r"^decode_head\.decode_module\.aspp_modules\.(\d)\.")


def own_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' weights by the names of :class:`StudentNetwork`.

    The teacher is left out where it is there; what else has no place keeps its name.
    """
    found = {}
    for theirs, weight in weights.items():
        if not _LEFT_OUT.fullmatch(theirs):
            name = theirs.removeprefix("backbone.")
            found[_BRANCH.sub(r"head.\1.", name)] = weight
    return found


class Bottleneck(nn.Module):
    """Three convolutions, of which the second one is dilated, beside what comes in."""

    def __init__(self, channels: int, inner: int, stride: int, dilation: int) -> None:
        super().__init__()
        outer = EXPANSION * inner
        self.conv1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(
            inner, inner, 3, stride=stride, padding=dilation, dilation=dilation, bias=False
        )
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, outer, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outer)
        self.downsample = (
            None
            if channels == outer
            else nn.Sequential(
                nn.Conv2d(channels, outer, 1, stride=stride, bias=False), nn.BatchNorm2d(outer)
            )
        )

    def forward(self, places: Tensor) -> Tensor:
        """``(B, channels, h, w)`` to ``(B, 4 * inner, h / stride, w / stride)``."""
        kept = places if self.downsample is None else self.downsample(places)
        places = functional.relu(self.bn1(self.conv1(places)))
        places = functional.relu(self.bn2(self.conv2(places)))
        added: Tensor = self.bn3(self.conv3(places))
        return functional.relu(kept + added)


class Branch(nn.Module):
    """One of the head's convolutions, normalised."""

    def __init__(self, channels: int, joint: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, joint, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn = nn.BatchNorm2d(joint)

    def forward(self, places: Tensor) -> Tensor:
        """``(B, channels, h, w)`` to ``(B, joint, h, w)``."""
        return functional.relu(self.bn(self.conv(places)))


class StudentNetwork(nn.Module):
    """From pixels to vectors at an eighth of their size."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.joint = sizes.joint
        self.stem = nn.Sequential(*_stem())
        # The first block of a dilated stage has the dilation of the stage before.
        stages = [(1, 1, 1), (2, 1, 1), (1, 1, 2), (1, 2, 4)]
        channels = 2 * STEM
        for stage, (stride, first, others) in enumerate(stages):
            inner = 2 * STEM << stage
            blocks = []
            for block in range(sizes.blocks[stage]):
                step, dilation = (stride, first) if block == 0 else (1, others)
                blocks.append(Bottleneck(channels, inner, step, dilation))
                channels = EXPANSION * inner
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.head = nn.ModuleList(Branch(channels, sizes.joint, d) for d in DILATIONS)

    def forward(self, pixels: Tensor) -> Tensor:
        """``(B, 3, H, W)`` to ``(B, joint, H / 8, W / 8)``, sides rounded up."""
        places = functional.max_pool2d(self.stem(pixels), 3, stride=2, padding=1)
        for stage in range(1, STAGES + 1):
            places = self.get_submodule(f"layer{stage}")(places)
        return torch.stack([branch(places) for branch in self.head]).sum(dim=0)


def _stem() -> Sequence[nn.Module]:
    modules: list[nn.Module] = []
    for before, after, stride in ((3, STEM, 2), (STEM, STEM, 1), (STEM, 2 * STEM, 1)):
        conv = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        modules += [conv, nn.BatchNorm2d(after), nn.ReLU()]
    return modules


class Student:
    """A frozen student, in the runtime's precision.

    Attributes:
        checkpoints: which weights these are.
        joint: how many numbers a vector has.
    """

    def __init__(
        self, network: StudentNetwork, checkpoints: tuple[CheckpointRecord, ...], runtime: Runtime
    ) -> None:
        """Take a network, which is frozen and moved in place."""
        self._dtype = DTYPES[runtime.precision]
        self._network = frozen(network, runtime.device).to(self._dtype)
        self.checkpoints = checkpoints
        self.device = torch.device(runtime.device)
        self.joint = network.joint

    @torch.inference_mode()
    def embed(self, images: Tensor) -> Tensor:
        """A vector for every place.

        Args:
            images: ``(B, 3, H, W)``, normalised with ImageNet's mean and deviation.

        Returns:
            ``(B, joint, h, w)`` float32, an eighth of the sides, rounded up; of any length.
        """
        vectors: Tensor = self._network(images.to(self.device, self._dtype))
        return vectors.float()


def load_student(name: str, clip: CLIP, runtime: Runtime) -> Student:
    """Load a student.

    Args:
        name: in the catalogue, such as ``"maskclip_plus_vitb16_context"``, or ``"random"`` for
            seeded random weights of a ResNet-101, which serve to measure speed.
        clip: in whose space random weights lie.

    Raises:
        UsageError: weights that cannot be had, or are not those of such a model.
    """
    if untrained(name, runtime):
        record = CheckpointRecord(ROLE, "MaskCLIP+, random weights", None, None)
        joint = clip.joint_width
        with seeded(runtime):
            return Student(StudentNetwork(Sizes(RESNET_101, joint)), (record,), runtime)
    located = locate(ROLE, name, runtime)
    weights = own_names(weights_in(located.path, "state_dict"))
    network = fitted(StudentNetwork(sizes_of(weights)), weights, located.path)
    return Student(network, located.records, runtime)


def sizes_of(weights: Mapping[str, Tensor]) -> Sizes:
    """The sizes that a file says, for configurations say others.

    Those of ViT-B/16's students are named after a ResNet-101 and leave the depth at 50.
    """
    deep = f"layer3.{RESNET_50[2]}.conv1.weight" in weights
    head = weights.get("head.0.bn.weight")
    return Sizes(RESNET_101 if deep else RESNET_50, 512 if head is None else len(head))
