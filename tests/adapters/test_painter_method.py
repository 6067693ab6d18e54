"""Painter as a method, on the miniature that stands in for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from prompted import picture, shown, vocabulary
from torch.nn import functional

from ovbench.errors import UsageError
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.registry.methods import load_method
from ovbench.models.pixels.inputs import IMAGENET_MEAN, IMAGENET_STD


@pytest.mark.parametrize("size", [(50, 130)])
def test_a_pixel_is_the_class_s_where_white_is_nearer_than_black(size: tuple[int, int]) -> None:
    method, image = load_method("painter", device="cpu", checkpoints="toy").segmenter, picture(5)
    image = np.resize(image, (*size, 3))
    method.prepare(vocabulary("thing"))
    model = method._model  # type: ignore[attr-defined]
    images, masks = model.encode_prompts([shown(0)])
    with torch.no_grad():
        canvas = model._model(
            pixel_values=model.encode(image), prompt_pixel_values=images, prompt_masks=masks
        ).pred_masks
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    painted = ((canvas[0, :, model.size[0] :] * std + mean) * 255).clamp(0, 255)
    painted = functional.interpolate(painted[None], size, mode="bilinear")[0]
    to_black, to_white = painted.sum(dim=0), (255 - painted).sum(dim=0)
    expected = (to_white < to_black).numpy()
    assert 0 < expected.mean() < 1
    assert (method.segment([image])[0] == expected).mean() > 0.9999


def test_wrong_input() -> None:
    method = load_method("painter", device="cpu", checkpoints="toy").segmenter
    with pytest.raises(UsageError, match=r"painter .* none shows cat.*perseg"):
        method.prepare(Vocabulary.of("cat", background=True))
