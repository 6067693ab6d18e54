"""FreeDA: its windows by the steps written out, its presets, and what does not go together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from ovbench.adapters.freeda import FreeDA, FreeDASettings
from ovbench.adapters.freeda.loading import load_collection
from ovbench.adapters.freeda.regions import pooled, superpixels
from ovbench.adapters.parts.templates import templates
from ovbench.datasets import load_dataset
from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Vocabulary

TOY = Runtime(checkpoints="toy")
VOCABULARY = Vocabulary((ClassQuery("disk", ("circle",)), ClassQuery("star")), Background())
IMAGE = load_dataset("toyworld").load(1).image[:80]
NOTHING: Any = lambda _: torch.zeros(0)  # noqa: E731 - never called
SMALL: dict[str, Any] = {"collection": "random", "short_side": 64, "window": 64,
                         "window_stride": 32, "superpixel_smallest": 8}  # fmt: skip


def built(vocabulary: Vocabulary = VOCABULARY, **settings: Any) -> FreeDA:
    method = FreeDA(FreeDASettings(**{**SMALL, **settings}), TOY)
    method.prepare(vocabulary)
    return method


@torch.inference_mode()
def told_apart(method: FreeDA) -> FreeDA:
    """With prototypes of what differs most in the picture, as random ones tell nothing apart."""
    pixels = torch.from_numpy(IMAGE.copy()).permute(2, 0, 1).float()
    patches = method._patches(pixels[None])[0].flatten(1).mT
    patches = patches - patches.mean(dim=0)
    first = patches.norm(dim=1).argmax()
    second = (patches @ patches[first]).argmin()
    chosen = torch.stack([patches[first], patches[first] + patches[second], patches[second]])
    method._prototypes = normalize(chosen, dim=1)
    return method


def written_out(method: FreeDA, pixels: Tensor) -> Tensor:
    """Scores of one window ``(3, H, W)`` of bytes, without background; masks one by one."""
    encoder, clip, side = method._encoder, method._clip, int(method.settings.side or 0)
    mean, std = (torch.tensor(v)[:, None, None] for v in (encoder.mean, encoder.std))
    square = interpolate(pixels[None], (side, side), mode="bilinear")
    features = encoder.features((square / 255 - mean) / std, norm=True)[0]
    size = (pixels.shape[1], pixels.shape[2])
    cosines = torch.einsum("kd,dhw->khw", method._prototypes, normalize(features, dim=0))
    scores = interpolate(cosines.sigmoid()[None], size, mode="bilinear", align_corners=True)[0]
    settings = method.settings
    regions = superpixels(
        pixels / 255,
        settings.superpixel_scale,
        settings.superpixel_sigma,
        settings.superpixel_smallest,
    )
    missed = 0
    for number in regions.unique():
        mask = (regions == number).float()
        small = interpolate(mask[None, None], features.shape[1:], mode="bilinear",
                            align_corners=True)[0, 0]  # fmt: skip
        if small.sum() > 0:
            vector = normalize((small * features).sum(dim=(1, 2)) / small.sum(), dim=0)
            scores[:, regions == number] = (method._prototypes @ vector).sigmoid()[:, None]
        missed += int(small.sum() == 0)
    assert 0 < missed < len(regions.unique()) / 2
    square = interpolate(pixels[None], (clip.image_size,) * 2, mode="bicubic")
    mean, std = (torch.tensor(v)[:, None, None] for v in (clip.mean, clip.std))
    whole = clip.encode_image((square / 255 - mean) / std)[0]
    share = settings.local_share
    return share * scores + (1 - share) * (method.text @ whole)[:, None, None]


@torch.inference_mode()
def test_labels_are_those_of_the_steps_written_out() -> None:
    method = told_apart(built(window=0, local_share=0.95))
    rows = method._input(IMAGE)
    shift, scale = (torch.tensor(v)[:, None, None] for v in (method.mean, method.std))
    pixels = ((rows * scale + shift) * 255).round()
    scores = written_out(method, pixels)
    full = interpolate(scores[None], IMAGE.shape[:2], mode="bilinear")[0]
    least = float(full.amax(dim=0).quantile(0.3))
    method.settings = replace(method.settings, background_score=least)
    full = torch.cat([torch.full_like(full[:1], least), full])
    expected = np.array([0, 1, 1, 2])[full.argmax(dim=0).numpy()]
    (answer,) = method.segment([IMAGE])
    assert len(np.unique(expected)) == 3
    assert (answer == expected).mean() > 0.999


def test_superpixels_are_scikit_images_of_values_from_0_to_1() -> None:
    from skimage.segmentation import felzenszwalb

    pixels = torch.from_numpy(IMAGE.copy()).permute(2, 0, 1).float() / 255
    found = superpixels(pixels, 20.0, 0.7, 4)
    expected = felzenszwalb(IMAGE.astype(np.float32) / 255, scale=20, sigma=0.7, min_size=4)
    assert np.array_equal(found.numpy(), expected)
    assert found.unique().tolist() == list(range(int(found.max()) + 1))


def test_without_regions_patches_speak_for_themselves() -> None:
    (without,) = told_apart(built(regions="none")).segment([IMAGE])
    (with_them,) = told_apart(built()).segment([IMAGE])
    assert not np.array_equal(without, with_them)


def test_a_text_is_the_mean_of_prompts_as_long_as_they_are() -> None:
    method = built()
    prompts = [one.format("star") for one in templates("subset7")]
    mean = method._clip.encode_text(prompts, unit=False).mean(dim=0)
    torch.testing.assert_close(method.text[2], normalize(mean, dim=0), atol=1e-5, rtol=0)


def test_regions_are_pooled_as_masks_are() -> None:
    random = torch.Generator().manual_seed(0)
    features = torch.randn(5, 4, 6, generator=random)
    regions = torch.randint(0, 9, (13, 17), generator=random)
    found, seen = pooled(features, regions)
    for number in range(9):
        mask = (regions == number).float()[None, None]
        small = interpolate(mask, (4, 6), mode="bilinear", align_corners=True)[0, 0]
        assert seen[number] == (small.sum() > 0)
        mean = (small * features).sum(dim=(1, 2)) / (small.sum() + torch.finfo(torch.float32).eps)
        torch.testing.assert_close(found[number], mean, atol=1e-5, rtol=1e-5)


def test_published_settings_ask_for_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = next(one for one in FreeDA.published if one.dataset == "cityscapes")
    settings = FreeDASettings(**row.settings)
    with pytest.raises(UsageError, match=r"knn\.index: is not there; unpack it from https"):
        FreeDA(replace(settings, index=str(tmp_path)), TOY)
    # Where the catalogue has it, beside real networks alone.
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    encoder = built()._encoder
    with pytest.raises(UsageError, match=r"put it into \S+/checkpoints/freeda/faiss_index"):
        load_collection(settings, encoder, NOTHING, NOTHING, Runtime(checkpoints="real"))
    folder = tmp_path / "hub" / "checkpoints" / "freeda" / "faiss_index"
    folder.mkdir(parents=True)
    (folder / "knn.index").write_bytes(b"")
    with pytest.raises(UsageError, match="prototype_embeddings: is not there; unpack it from"):
        load_collection(settings, encoder, NOTHING, NOTHING, Runtime(checkpoints="real"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"side": 50}, "side=50 must be a multiple of 8"),
    ],
)
def test_what_does_not_go_with_the_networks(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        built(**settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"picture_prompt": "a picture"}, "picture_prompt needs one"),
        ({"neighbours": 0}, "neighbours must be positive"),
        ({"local_share": 1.5}, "local_share"),
    ],
)
def test_settings_that_are_none(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FreeDASettings(**settings)
