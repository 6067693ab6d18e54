"""TextRegion as a method: views, what a pixel of several regions has, and what is refused.

What SigLIPs and Perception Encoders pool is held to timm's own pool with a query that looks at all
patches alike.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_timm
import torch
from torch.nn.functional import interpolate, normalize

from ovbench.adapters.regional.textregion import (
    TextRegion,
    TextRegionSettings,
    crops_of,
    pool_tokens,
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


POOLING: dict[str, dict[str, Any]] = {
    "pooling-map": {
        "vision_cfg": {"timm_model_name": "tiny_siglip", "timm_pool": "map", "timm_proj": "none"},
        "init_logit_scale": 1.5,
        "init_logit_bias": -3,
    },
    "pooling-pe": {
        "vision_cfg": {"timm_model_name": "tiny_pe", "timm_pool": "map", "timm_proj": None}
    },
}


@pytest.fixture(scope="module")
def pooling(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Register tiny towers of both kinds with open_clip, one with a sigmoid's bias."""
    import open_clip

    tiny_timm.register()
    folder = tmp_path_factory.mktemp("architectures")
    text = {"width": 32, "heads": 2, "layers": 1, "context_length": 16}
    for name, own in POOLING.items():
        vision = {**own["vision_cfg"], "image_size": 32}
        config = {"embed_dim": 32, "custom_text": True, **own, "vision_cfg": vision}
        (folder / f"{name}.json").write_text(json.dumps({**config, "text_cfg": text}))
    open_clip.add_model_config(Path(folder))


def pooled(architecture: str, **settings: Any) -> TextRegion:
    own = {
        "architecture": architecture, "pretrained": "random", "prompts": "single",
        "regions": "superpixels", "superpixels": 20, "short_side": 72, "fuse": False, **settings,
    }  # fmt: skip
    method = TextRegion(override(TextRegionSettings, own), Runtime())
    generator = torch.Generator().manual_seed(0)
    for parameter in method.clip._model.visual.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    classes = (ClassQuery("circle"), ClassQuery("square", ("box",)), ClassQuery("star"))
    method.prepare(Vocabulary(classes, background=Background()))
    return method


@torch.inference_mode()
def pooled_slowly(method: TextRegion, image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Region by region through timm's own pool, which looks at all alike and adds no MLP."""
    settings, visual = method.settings, copy.deepcopy(method.clip._model.visual)
    for layer in (visual.trunk.attn_pool.q, visual.trunk.attn_pool.mlp.fc2):
        for parameter in layer.parameters():
            parameter.data.zero_()
    pixels = method._input(image)
    grid = crops_of(pixels, 32)  # which is the size that such a CLIP was trained on
    assert grid == (2, 3)
    views = visual.trunk.forward_features(method._views(pixels, grid))
    maps = views[:, visual.trunk.num_prefix_tokens :].mT.reshape(7, -1, 4, 4)
    whole = 0.5 * interpolate(maps[:1], (8, 12), mode="bilinear")[0]
    for i in range(6):
        top, left = 4 * (i // 3), 4 * (i % 3)
        whole[:, top : top + 4, left : left + 4] += maps[1 + i]
    patches = whole.flatten(1).T
    (masks,) = method.regions.masks([image])
    full = torch.from_numpy(masks.masks[masks.masks.mean(axis=(1, 2)) > settings.least_share])
    inside = interpolate(full[:, None].float(), (8, 12), mode="bilinear").flatten(1) > 0
    left_out: set[int] = set()
    cosines = normalize(patches, dim=1) @ normalize(patches, dim=1).T
    for p in range(len(patches)):
        mean = [cosines[p, region].mean() for region in inside]
        own = [m for m, region in zip(mean, inside, strict=True) if region[p]]
        other = [m for m, region in zip(mean, inside, strict=True) if not region[p]]
        if sum(own) / max(len(own), 1) - sum(other) / max(len(other), 1) < 0.02:
            left_out.add(p)
    inside[:, sorted(left_out)] = False
    scores = torch.zeros(len(method.text), *image.shape[:2])
    for mask, region in zip(full, inside, strict=True):
        if region.any():
            found = visual.trunk.attn_pool(patches[region][None])
            joint = visual.head(visual.trunk.head(visual.trunk.fc_norm(found)))[0]
            cosine = method.text @ normalize(joint, dim=0)
            if "map" in settings.architecture:  # as SigLIP was trained; the bias is of all alike
                cosine = cosine * method.clip.logit_scale - 3
            scores += cosine[:, None, None] * mask
    best, query = (scores * settings.logit_scale).softmax(dim=0).max(dim=0)
    labels = method._labels[query.numpy()]
    labels[best.numpy() < settings.background_threshold] = 0
    return labels


@pytest.mark.parametrize("architecture", POOLING)
@pytest.mark.parametrize("threshold", [0.0, 0.6])
@pytest.mark.usefixtures("pooling")
def test_a_tower_that_pools_is_pooled_region_by_region(architecture: str, threshold: float) -> None:
    method = pooled(
        architecture, background_threshold=threshold, global_threshold=0.02, least_share=0.05
    )
    assert (method.clip.logit_bias == -3) == (architecture == "pooling-map")
    images = [IMAGE, np.ascontiguousarray(IMAGE[:, ::-1])]
    found = method.segment(images)
    for image, labels in zip(images, found, strict=True):
        assert (labels == pooled_slowly(method, image)).mean() > 0.999
    assert len(np.unique(found)) > 1


def test_patches_count_as_wholes_where_attention_pools() -> None:
    tokens = torch.tensor([[1.0, 0], [3, 0], [0, 5], [0, 7]])
    masks = torch.tensor([[0.1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0.5]])
    means, kept = pool_tokens(tokens, masks, None)
    assert means.tolist() == [[2, 0], [0, 6]]
    assert kept.tolist() == [True, False, True]
    means, kept = pool_tokens(tokens, torch.tensor([[1.0, 1, 1, 0], [0, 0, 1, 1]]), 0.1)
    # The third patch is as near to the first region's mean as far from it: 1/3 and 1 against 0.
    assert kept.tolist() == [True, True]
