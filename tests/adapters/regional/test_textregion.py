"""TextRegion as a method: views, what a pixel of several regions has, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate, normalize

from ovbench.adapters.regional.textregion import (
    TextRegion,
    TextRegionSettings,
    crops_of,
    pool_values,
    values_of,
)
from ovbench.datasets import load_dataset
from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import override
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Vocabulary
from ovbench.models.regions.store import Masks

TOY = Runtime(checkpoints="toy")
IMAGE = load_dataset("toyworld").load(3).image[:60]


def built(**settings: Any) -> TextRegion:
    few = {"prompts": "single", "points_per_side": 4, "short_side": 96, "window": 48, **settings}
    method = TextRegion(override(TextRegionSettings, few), TOY)
    classes = (ClassQuery("circle"), ClassQuery("square", ("box",)), ClassQuery("star"))
    method.prepare(Vocabulary(classes, background=Background()))
    return method


@torch.inference_mode()
def slowly(method: TextRegion) -> np.ndarray[Any, Any]:
    """Every score of every pixel at once, in the released order."""
    settings, (height, width, _) = method.settings, IMAGE.shape
    pixels = method._input(IMAGE)
    grid = crops_of(pixels, 48)
    assert grid == (2, 3)
    rows, columns = -(-pixels.shape[1] // 2), -(-pixels.shape[2] // 3)
    parts = [pixels] + [
        pixels[:, min(i * rows, pixels.shape[1] - rows) :][:, :rows]
        [:, :, min(j * columns, pixels.shape[2] - columns) :][:, :, :columns]
        for i in range(2)
        for j in range(3)
    ]  # fmt: skip
    views = [interpolate(p[None], (48, 48), mode="bicubic", antialias=True) for p in parts]
    trunks = [method._trunk(view) for view in views]
    values = torch.cat([values_of(trunk) for trunk in trunks])
    dense = torch.cat([normalize(method.features(view), dim=1) for view in views])
    dense = torch.einsum("qd,bdhw->bqhw", method.text, dense)

    def together(maps: torch.Tensor) -> torch.Tensor:
        side = maps.shape[-1]
        whole = interpolate(maps[:1], (2 * side, 3 * side), mode="bilinear")
        for i in range(2):
            for j in range(3):
                place = np.s_[:, :, i * side : (i + 1) * side, j * side : (j + 1) * side]
                whole[place] += maps[1 + 3 * i + j]
        return whole

    joint = together(values)
    (masks,) = method.regions.masks([IMAGE])
    large = masks.masks.mean(axis=(1, 2)) > settings.least_share
    fused = Masks(masks.masks[large], masks.scores[large]).fused().masks
    full = torch.from_numpy(fused).float()
    weights = interpolate(full[None], joint.shape[2:], mode="bilinear")[0].flatten(1)
    sums, kept = pool_values(joint[0].flatten(1).T, weights, 0.07)
    logits = normalize(method._out(sums), dim=1) @ method.text.T
    scores = (logits[:, :, None, None] * full[kept][:, None]).sum(dim=0)
    free = full[kept].sum(dim=0) == 0
    assert 0 < free.float().mean() < 1
    below = interpolate(together(dense), (height, width), mode="bilinear")[0]
    scores[:, free] = below[:, free]
    chances = (scores * settings.logit_scale).softmax(dim=0)
    best, query = chances.max(dim=0)
    labels = method._labels[query.numpy()]
    labels[best.numpy() < settings.background_threshold] = 0
    return labels


@pytest.mark.parametrize("threshold", [0.0, 0.35])
def test_every_pixel_is_what_the_slow_way_says(threshold: float) -> None:
    method = built(background_threshold=threshold, stability=0.9, predicted_iou=0.8)
    (found,) = method.segment([IMAGE])
    expected = slowly(method)
    assert (found == expected).mean() > 0.999
    assert len(np.unique(found)) > 1


def test_sums_of_more_masks_than_a_number_has_bits() -> None:
    generator = np.random.default_rng(0)
    masks = generator.random((70, 6, 9)) < 0.1
    masks[:, 2] = masks[:, 3]
    scores = torch.randn(70, 4, generator=torch.Generator().manual_seed(0))
    sums, place = built()._sums(scores, masks)
    assert sums.shape[1] < masks[0].size
    expected = torch.einsum("nq,nhw->qhw", scores, torch.from_numpy(masks).float())
    torch.testing.assert_close(sums[:, place], expected)


def test_without_any_region_it_is_the_dense_answer() -> None:
    nothing, dense = built(predicted_iou=1000.0), built(least_share=1.0)
    assert (nothing.segment([IMAGE])[0] == dense.segment([IMAGE])[0]).all()


def test_images_halves_and_candidates() -> None:
    other = load_dataset("toyworld").load(7).image
    method = built(halves=True)
    together = method.segment([IMAGE, other], [[1, 2], [2, 3]])
    alone = [method.segment([IMAGE], [[1, 2]])[0], method.segment([other], [[2, 3]])[0]]
    for one, two in zip(together, alone, strict=True):
        assert (one == two).mean() > 0.999
    assert set(np.unique(together[1])) <= {0, 2, 3}
    maps = torch.arange(2.0 * 3)[:, None, None, None].repeat(1, 1, 2, 2)[:4]
    joint = method.joined(maps, (1, 2))[0, 0]  # two halves, two crops
    assert joint.tolist() == [[2, 2, 4, 4]] * 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"pamr_iterations": 1}, "must be 0"),
        ({"area_share": 0.1}, "must be 0"),
        ({"window": 0}, "window must be positive"),
        ({"containment": 2}, "containment"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        built(**settings)
