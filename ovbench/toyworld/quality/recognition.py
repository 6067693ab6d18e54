"""An independent judge of pictures of the embedded world, and how far to trust it.

The judge is a small fully convolutional network that labels every pixel; the thing that it sees
most of is what a picture shows. No method uses it: it tells whether generated pictures, which
have no labels, show what they were asked to show, and where.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from ovbench.models.weights.checkpoints import packaged
from ovbench.toyworld.scene import MIN_VISIBLE, Scene
from ovbench.toyworld.world import NAMES, THINGS

ROLE = "classifier"

_BATCH = 32
_GROUPS = 8


class Labeller(nn.Module):
    """A U-Net (Ronneberger et al., MICCAI 2015) of one plain convolution per level and way.

    Args:
        widths: channels at a half, a quarter and so on of the picture's side; multiples of 8.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        inputs = (3, *widths[:-1])
        self.down = nn.ModuleList(
            nn.Sequential(_convolution(i, w, stride=2), _convolution(w, w))
            for i, w in zip(inputs, widths, strict=True)
        )
        self.up = nn.ModuleList(_convolution(below + w, w) for w, below in pairwise(widths))
        self.head = nn.Conv2d(widths[0], len(NAMES), kernel_size=1)

    def forward(self, pixels: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in -1..1 to the logits of all classes, ``(B, 15, H, W)``."""
        levels, state = [], pixels
        for down in self.down:
            state = down(state)
            levels.append(state)
        for up, level in zip(reversed(self.up), reversed(levels[:-1]), strict=True):
            state = up(torch.cat([_resized(state, level), level], dim=1))
        return _resized(self.head(state), pixels)


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(_GROUPS, outputs),
        nn.ReLU(),
    )


def _resized(maps: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(maps, like.shape[-2:], mode="bilinear", align_corners=False)


class Judge:
    """A trained labeller, frozen."""

    def __init__(self, network: Labeller) -> None:
        self._network = network.eval().requires_grad_(False)

    @torch.inference_mode()
    def probabilities(self, images: npt.NDArray[np.uint8]) -> Tensor:
        """How probably each pixel belongs to each class.

        Args:
            images: ``(N, H, W, 3)``.

        Returns:
            ``(N, 15, H, W)`` float32, in the order of ``NAMES``.
        """
        parts = [
            self._network(to_pixels(part)) for part in torch.split(torch.from_numpy(images), _BATCH)
        ]
        return torch.cat(parts).softmax(dim=1)


def to_pixels(images: Tensor) -> Tensor:
    """``(N, H, W, 3)`` uint8 to the network's input, ``(N, 3, H, W)`` float32 in -1..1."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1


def main_things(probabilities: Tensor) -> npt.NDArray[np.int64]:
    """The thing that a picture shows most of, whatever else it shows.

    Args:
        probabilities: ``(N, 15, H, W)``.

    Returns:
        ``(N,)`` int64, indices into ``THINGS``.
    """
    areas = probabilities[:, : len(THINGS)].sum(dim=(2, 3))
    found: npt.NDArray[np.int64] = areas.argmax(dim=1).numpy()
    return found


def load_judge(folder: Path | None = None) -> Judge:
    """The judge of ``folder``, or the packaged one.

    Raises:
        UsageError: this installation has none.
    """
    from safetensors.torch import load_file

    folder = folder or packaged(ROLE).path
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    network = Labeller(config["widths"])
    network.load_state_dict(load_file(folder / "model.safetensors"))
    return Judge(network)


def measure(judge: Judge, scenes: Sequence[Scene]) -> dict[str, float]:
    """How often the judge is right about real pictures.

    ``"thing_accuracy"`` counts the pictures that show one kind of thing, ``"single_scenes"`` of
    them; ``"pixel_accuracy"`` and ``"thing_iou"`` (the mean over thing classes, pixels of all
    scenes counted together) count every scene.
    """
    probabilities = judge.probabilities(np.stack([scene.image for scene in scenes]))
    labels = np.stack([scene.label for scene in scenes])
    areas = np.stack([(labels == thing).sum(axis=(1, 2)) for thing in range(len(THINGS))], axis=1)
    single = (areas >= MIN_VISIBLE).sum(axis=1) == 1
    right = main_things(probabilities) == areas.argmax(axis=1)
    found = probabilities.argmax(dim=1).numpy()
    ious = [_iou(found == thing, labels == thing) for thing in range(len(THINGS))]
    return {
        "thing_accuracy": round(float(right[single].mean()), 4),
        "single_scenes": float(single.sum()),
        "pixel_accuracy": round(float((found == labels).mean()), 4),
        "thing_iou": round(float(np.mean(ious)), 4),
    }


def _iou(found: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> float:
    return float((found & truth).sum() / max((found | truth).sum(), 1))
