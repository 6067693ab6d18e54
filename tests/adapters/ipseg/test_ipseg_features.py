"""Features of a picture on one grid, their two fusions, and what a prompt shows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from ovbench.adapters.ipseg.features import LAYERS, Extractor, Letterbox, concatenated
from ovbench.adapters.ipseg.nearest import nearest
from ovbench.adapters.ipseg.prompt import (
    eroded,
    find_object,
    first_component,
    mean_of,
    pooled,
    similarity,
)
from ovbench.adapters.ipseg.settings import Settled
from ovbench.errors import UsageError
from ovbench.harness.contract.vocabulary import Exemplar

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (30, 60, 3), dtype=np.uint8)
SETTINGS = Settled(grid=8)


def layers(grid: int = 8) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(d, grid, grid, generator=generator) for d in (12, 10, 6, 7))


# Pictures in squares


def test_a_picture_in_a_black_square_and_out_of_it() -> None:
    box = Letterbox.of(IMAGE, 40)
    assert (box.height, box.width, box.top, box.left) == (20, 40, 10, 0)
    assert not box.pixels[:10].any()
    assert not box.pixels[30:].any()
    # Features that tell their own row and column.
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    found = box.inside(torch.stack([rows, columns]), 8)
    assert found[1, 0].tolist() == list(range(8))
    assert found[0, :, 0].tolist() == [2, 2, 3, 3, 4, 4, 5, 5]  # the padding is cut off


@pytest.mark.parametrize("shape", [(1, 300), (300, 1), (1, 1)])
def test_a_line_has_features(shape: tuple[int, int]) -> None:
    box = Letterbox.of(np.zeros((*shape, 3), np.uint8), 40)
    assert box.inside(torch.randn(3, 5, 5), 8).shape == (3, 8, 8)


class Diffusion:
    """Answers with what its windows hold, at the three layers' sizes."""

    cell, image_size, mean, std = 2, 32, (0.0,) * 3, (1.0,) * 3
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.windows: list[torch.Tensor] = []

    def features(self, pixels: Any, modules: Any, *, timestep: int, seed: int) -> dict[str, Any]:
        assert (timestep, seed) == (50, 3)
        self.windows.append(pixels)
        places = (16, 8, 4)  # pixels a place, coarse to fine
        return {
            name: functional.avg_pool2d(pixels, size).repeat(1, n, 1, 1)
            for n, (name, size) in enumerate(zip(modules, places, strict=True), start=1)
        }


def test_stable_diffusion_sees_windows_of_its_own_size() -> None:
    model = Diffusion()
    # 12 places of 4 pixels: 48, in windows of 32 that overlap by one coarsest place, 16.
    found = Extractor(replace(SETTINGS, grid=12), model, None, 3).layers(IMAGE)  # type: ignore[arg-type]
    assert [w.shape[-1] for w in model.windows] == [32] * 4
    assert [layer.shape for layer in found] == [(3, 12, 12), (6, 12, 12), (9, 12, 12)]
    box = Letterbox.of(IMAGE, 48)
    square = torch.as_tensor(box.pixels).permute(2, 0, 1)[None] / 255
    # This model is local, so that the windows' borders do not show.
    for layer, size in zip(found, (16, 8, 4), strict=True):
        whole = functional.interpolate(functional.avg_pool2d(square, size), (12, 12))[0]
        assert torch.allclose(layer[:3], box.inside(whole, 12), atol=1e-5)


# Fusions


def test_concatenation_is_one_cosine() -> None:
    """Brute force, place by place: every layer of unit length, both models alike in weight."""
    parts = layers()
    places = RNG.random((8, 8)) > 0.7
    found = similarity(
        (concatenated(parts),), pooled((concatenated(parts),), places), (1.0,)
    ).numpy()

    def at(y: int, x: int) -> np.ndarray:
        units = [p[:, y, x].numpy() / np.linalg.norm(p[:, y, x].numpy()) for p in parts]
        return np.concatenate([*(u / 3**0.5 for u in units[:3]), units[3]])

    prompt = np.mean([at(y, x) for y, x in zip(*np.nonzero(places), strict=True)], axis=0)
    for y, x in np.ndindex(8, 8):
        here = at(y, x)
        expected = here @ prompt / np.linalg.norm(here) / np.linalg.norm(prompt)
        assert found[y, x] == pytest.approx(expected, abs=1e-5)


def test_the_released_codes_sum_of_cosines() -> None:
    parts = layers()
    places = RNG.random((8, 8)) > 0.7
    extractor = Extractor(replace(SETTINGS, fusion="weighted"), object(), object(), 0)  # type: ignore[arg-type]
    found = similarity(parts, pooled(parts, places), extractor.weights).numpy()
    for y, x in np.ndindex(8, 8):
        cosines = []
        for part in parts:
            prompt = part.numpy()[:, places].mean(axis=1)
            here = part.numpy()[:, y, x]
            cosines.append(here @ prompt / np.linalg.norm(here) / np.linalg.norm(prompt))
        s5, s4, s3, dino = cosines
        expected = dino + 0.1 * (0.1 * s5 + 0.2 * s4 + 0.3 * s3)
        assert found[y, x] == pytest.approx(expected, abs=1e-5)


def test_one_model_alone() -> None:
    *diffusion, dino = layers()
    assert torch.allclose(concatenated([dino]), functional.normalize(dino, dim=0))
    alone = concatenated(diffusion)
    assert alone.shape[0] == 28
    assert torch.allclose(alone.square().sum(dim=0), torch.ones(8, 8))
    weighted = replace(SETTINGS, fusion="weighted")
    assert Extractor(weighted, None, object(), 0).weights == (1.0,)  # type: ignore[arg-type]
    assert len(Extractor(weighted, object(), None, 0).weights) == len(LAYERS)  # type: ignore[arg-type]


def test_several_pictures_of_a_class_count_the_same() -> None:
    one, two = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    (found,) = mean_of([(one,), (two,)])
    assert found.tolist() == pytest.approx([0.5**0.5] * 2)


# The object in a prompt


class Saliency:
    """Calls foreground what is bright."""

    mean, std, device = (0.0,) * 3, (1.0,) * 3, torch.device("cpu")

    def predict(self, pixels: torch.Tensor) -> torch.Tensor:
        self.size = tuple(pixels.shape[-2:])
        return pixels.mean(dim=1)


def bright(top: int, left: int, bottom: int, right: int, side: int = 80) -> np.ndarray:
    image = np.zeros((side, side, 3), np.uint8)
    image[top:bottom, left:right] = 250
    return image


def find(
    image: np.ndarray, mask: np.ndarray | None = None, rule: Any = "saliency", **changes: Any
) -> Any:
    """With features that are the picture's own places."""
    block = torch.as_tensor(image[5::10, 5::10].copy()).permute(2, 0, 1).float() + 1
    model: Any = Saliency() if rule == "saliency" else None
    settings = replace(SETTINGS, prompt_mask=rule, **changes)
    return find_object(Exemplar(image, mask), block, settings, model)


def places(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    expected = np.zeros((8, 8), np.bool_)
    expected[top:bottom, left:right] = True
    return expected


def test_every_rule_for_the_object() -> None:
    image = bright(20, 20, 60, 70)
    for rule in ("saliency", "pca"):
        found = find(image, rule=rule)
        assert found.taken == rule
        assert (found.places == places(2, 2, 6, 7)).all()
    mask = np.zeros((80, 80), np.bool_)
    mask[30:50, 30:50] = True
    assert (find(image, mask, rule="truth").places == places(3, 3, 5, 5)).all()
    assert find(image, mask, rule="none").places.all()
    assert (find(image, erode=True).places == places(3, 3, 5, 6)).all()
    mask[:] = image[..., 0] > 0
    assert (find(image, mask, "truth", erode=True).places == places(3, 3, 5, 6)).all()
    # An object that erosion would take away whole is kept as it was.
    assert (find(bright(20, 20, 40, 40), erode=True).places == places(2, 2, 4, 4)).all()


def test_several_objects_count_as_one() -> None:
    image = bright(20, 20, 40, 40) + bright(50, 50, 70, 70)
    assert (find(image).places == places(2, 2, 4, 4) | places(5, 5, 7, 7)).all()


def test_nothing_salient() -> None:
    dim = bright(20, 20, 60, 70) // 3
    found = find(dim)  # below one half, but there is something
    assert found.taken == "pca"
    assert (found.places == places(2, 2, 6, 7)).all()
    found = find(np.full((80, 80, 3), 9, np.uint8))
    assert found.taken == "none"
    assert found.places.all()
    found = find(bright(20, 20, 60, 70), np.zeros((80, 80), np.bool_), rule="truth")
    assert found.taken == "pca"


def test_a_mask_that_is_thinner_than_a_place() -> None:
    mask = np.zeros((80, 80), np.bool_)
    mask[31, 40:60] = True
    image = bright(0, 0, 0, 0)
    assert (find(image, mask, rule="truth").places == places(3, 4, 4, 6)).all()
    with pytest.raises(UsageError, match=r"prompt_mask=truth needs masks: put <picture>_mask\.png"):
        find(image, None, rule="truth")


def test_large_prompts_are_shrunk_for_salience() -> None:
    model = Saliency()
    image = np.zeros((100, 1000, 3), np.uint8)
    find_object(Exemplar(image), torch.ones(3, 8, 8), SETTINGS, model)  # type: ignore[arg-type]
    assert model.size == (48, 480)


def test_erosion_is_opencvs() -> None:
    given = RNG.random((8, 8)) > 0.2
    for y, x in np.ndindex(8, 8):
        window = given[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        assert eroded(given)[y, x] == window.all()


def test_the_component_is_the_one_of_largest_variance() -> None:
    features = torch.as_tensor(RNG.normal(size=(5, 8, 8)))
    features[2] *= 9
    centred = features[2] - features[2].mean()
    found = first_component(features)
    agreement = (found == (centred > 0).numpy()).mean()
    assert agreement > 0.95 or agreement < 0.05
    border = np.ones((8, 8), np.bool_)
    border[1:-1, 1:-1] = False
    assert found[border].mean() <= 0.5


def test_nearest() -> None:
    mask = RNG.random((13, 29)) > 0.5
    for size in ((8, 8), (30, 7)):
        found = nearest(mask, size)
        for y, x in np.ndindex(size):
            here = int((y + 0.5) * 13 / size[0]), int((x + 0.5) * 29 / size[1])
            assert found[y, x] == mask[here]


def test_a_mask_is_read_at_corners_as_interpolate_reads_it() -> None:
    mask = RNG.random((13, 29)) > 0.5
    for size in ((8, 8), (30, 7)):
        expected = functional.interpolate(torch.as_tensor(mask)[None, None].float(), size)[0, 0]
        np.testing.assert_array_equal(nearest(mask, size, "corners"), expected.numpy() > 0)


@pytest.mark.parametrize(("size", "kept"), [((333, 500), (9, 15)), ((500, 400), (15, 13))])
def test_whole_cells_that_the_picture_does_not_reach_are_left_out(
    size: tuple[int, int], kept: tuple[int, int]
) -> None:
    """Of 15 cells 9.99 are 9, so three go on either side; 12 lose three, of which one is kept."""
    box = Letterbox.of(np.zeros((*size, 3), np.uint8), 96)
    cells = torch.arange(225.0).reshape(1, 15, 15)
    top, left = ((15 - k) // 2 for k in kept)
    cut = cells[0, top : 15 - top, left : 15 - left]
    assert cut.shape == kept
    found = box.whole_cells_inside(cells, 60)[0]
    assert torch.equal(found, functional.interpolate(cut[None, None], (60, 60))[0, 0])


def test_the_noise_is_the_runs_unless_it_has_a_seed_of_its_own() -> None:
    seen: list[int] = []

    class Seeded(Diffusion):
        def features(self, pixels: Any, modules: Any, *, timestep: int, seed: int) -> Any:
            seen.append(seed)
            return super().features(pixels, modules, timestep=50, seed=3)

    for noise_seed in (None, 42):
        settings = replace(SETTINGS, grid=12, noise_seed=noise_seed)
        Extractor(settings, Seeded(), None, 7).layers(IMAGE)  # type: ignore[arg-type]
    assert set(seen[:4]) == {7}
    assert set(seen[4:]) == {42}
