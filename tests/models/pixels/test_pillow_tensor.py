"""Pictures as torchvision's transforms make them."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from torchvision import transforms
from torchvision.transforms.functional import InterpolationMode

from ovbench.models.pixels.inputs import pillow_tensor

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(24, 40), (96, 64)])
def test_the_bits_are_torchvisions(
    mode: Literal["bilinear", "bicubic"], size: tuple[int, int]
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    as_released = transforms.Compose(
        [
            transforms.Resize(size, interpolation=InterpolationMode(mode)),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    found = pillow_tensor(image, size, mean=MEAN, std=STD, mode=mode, device=torch.device("cpu"))
    assert torch.equal(found, as_released(Pillow.fromarray(image)))
