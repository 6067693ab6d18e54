"""SimSeg's scoring against its steps written out, with every stage as a loop of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tiny_towers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from ovbench.adapters.pooled import simseg as adapter
from ovbench.adapters.pooled.simseg import SimSeg, grown, rescaled, spoken, standing_out
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import override
from ovbench.harness.contract.vocabulary import ClassQuery, Vocabulary
from ovbench.models.pixels.inputs import pillow_resized

NAMES = ("cat", "dog", "bird", "sheep", "bus", "car", "sofa", "table", "plant", "boat", "horse")
VOCABULARY = Vocabulary.of(*NAMES, background=True)
WIDTH, PATCH = 12, 8


class FixedTowers:
    """Places of every picture and texts that do not depend on either."""

    checkpoints, device, patch = (), torch.device("cpu"), PATCH

    def __init__(self, places: Tensor, text: Tensor) -> None:
        self._places, self._text = places, text

    def places(self, images: Tensor) -> Tensor:
        assert images.shape[1:] == (3, 48, 48)
        return self._places[: len(images)]

    def embed_queries(self, queries: Any, templates: Any) -> Tensor:
        assert len(templates) == 80
        return self._text[: len(queries)]


def build(monkeypatch: pytest.MonkeyPatch, places: Tensor, text: Tensor, **settings: Any) -> SimSeg:
    monkeypatch.setattr(adapter, "load_simseg", lambda *_: FixedTowers(places, text))
    return SimSeg(override(SimSeg.Settings, {"side": 48, **settings}), Runtime())


def made(seed: int) -> tuple[Tensor, Tensor, Image]:
    """Places and texts such that names have quite different scores, and a picture of 50x70."""
    generator = torch.Generator().manual_seed(seed)
    text = torch.randn(len(NAMES) + 1, WIDTH, generator=generator)
    text /= text.norm(dim=1, keepdim=True)
    places = torch.randn(1, WIDTH, 6, 6, generator=generator)
    which = torch.randint(0, len(text), (2,), generator=generator)
    places[0, :, :3, :3] += 6 * text[which[0]][:, None, None]
    places[0, :, 3:, 2:] += 5 * text[which[1]][:, None, None]
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    return places, text, coarse.repeat(10, axis=0).repeat(10, axis=1)


def written_out(
    places: Tensor, text: Tensor, image: Image, crf: Any = None, compared: int = 10
) -> tuple[LabelMap, int]:
    """The labels, and how many names were cut out; index 0 is background."""
    d, rows, columns = places.shape
    vector = np.zeros(d)
    for channel in range(d):
        vector[channel] = np.sort(places[channel].numpy().ravel())[-5:].mean()
    vector /= np.sqrt((vector**2).sum())
    scores = [float(t @ vector) for t in text.numpy().astype(np.float64)]
    order = sorted(range(len(scores)), key=lambda i: -scores[i])[:compared]
    top = [scores[i] for i in order]
    threshold = np.mean(top) + np.std(top, ddof=1)
    height, width, _ = image.shape
    planes = np.zeros((len(scores), height, width))
    square = pillow_resized(image, (48, 48), "bilinear")
    cut = 0
    for index in order[:5]:
        if index == 0:
            continue
        if scores[index] < threshold:
            break
        heat = np.zeros((48, 48), dtype=np.float32)
        for row in range(rows):
            for column in range(columns):
                place = places[:, row, column]
                cosine = float(text[index] @ place / place.norm())
                heat[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] = cosine
        heat = (heat - heat.min()) / (heat.max() - heat.min())
        mask = heat > 0.5 if crf is None else by_pydensecrf(crf, square, heat)
        mask = ndimage.binary_dilation(mask, np.ones((7, 7)))
        mask = ndimage.binary_erosion(mask, np.ones((7, 7)), border_value=1)
        rows_of, columns_of = ([i * 48 // n for i in range(n)] for n in (height, width))
        planes[index] = 255 * mask[rows_of][:, columns_of] * scores[index]
        cut += 1
    return planes.argmax(axis=0), cut


def by_pydensecrf(crf: Any, square: Image, heat: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    model = crf.DenseCRF2D(48, 48, 2)
    both = np.stack([1 - heat, heat]).reshape(2, -1)
    model.setUnaryEnergy(np.ascontiguousarray(-np.log(both + 1e-8), dtype=np.float32))
    model.addPairwiseGaussian(sxy=3, compat=3)
    model.addPairwiseBilateral(sxy=40, srgb=13, rgbim=square.copy(), compat=10)
    labels: npt.NDArray[np.bool_] = np.array(model.inference(3)).argmax(axis=0) == 1
    return labels.reshape(48, 48)


def test_labels_are_those_of_the_steps_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = []
    for seed in range(8):
        places, text, image = made(seed)
        compared = 12 if seed % 2 else 10
        method = build(monkeypatch, places, text, crf_iterations=0, compared=compared)
        method.prepare(VOCABULARY)
        expected, count = written_out(places[0], text, image, compared=compared)
        assert (method.segment([image])[0] == expected).all()
        cut.append(count)
    assert max(cut) > 1  # several names at a time, too


def test_masks_are_those_of_the_authors_crf(monkeypatch: pytest.MonkeyPatch) -> None:
    crf = pytest.importorskip("pydensecrf.densecrf")
    places, text, image = made(1)
    method = build(monkeypatch, places, text)
    method.prepare(VOCABULARY)
    expected, count = written_out(places[0], text, image, crf)
    assert count
    assert (method.segment([image])[0] == expected).mean() > 0.995


def test_background_uses_a_place_up_and_a_low_score_ends_the_search() -> None:
    scores = torch.tensor([0.9, 0.8, 0.7, 0.1, 0.1, 0.1, 0.0, 0.0, 0.0, 0.0, 0.95])
    # Of the ten highest: mean 0.365, deviation 0.409.
    assert standing_out(scores, 10, 1.0, 5) == [10, 0, 1]
    assert standing_out(scores, 10, 1.0, 2) == [10, 0]
    assert standing_out(scores, 10, 0.0, 5) == [10, 0, 1, 2]
    assert standing_out(scores, 3, 1.0, 5) == []  # 0.883 and 0.076: none is far above the others


def test_scores_below_0_lose_against_what_is_not_cut_out() -> None:
    assert standing_out(torch.tensor([-0.1, -0.9, -0.9, -0.9]), 10, 1.0, 5) == []
    assert standing_out(torch.tensor([0.3]), 10, 1.0, 5) == [0]


@settings(max_examples=50)
@given(
    st.lists(st.integers(-50, 50), min_size=1, max_size=40, unique=True),
    st.integers(1, 30),
    st.integers(1, 8),
)
def test_what_stands_out_as_a_loop(numbers: list[int], compared: int, most: int) -> None:
    order = sorted(range(len(numbers)), key=lambda i: -numbers[i])[:compared]
    top = [numbers[i] for i in order]
    deviation = float(np.std(top, ddof=1)) if len(top) > 1 else 0.0
    expected = []
    for i in order[:most]:
        if numbers[i] < np.mean(top) + deviation - 1e-6 or numbers[i] <= 0:
            break
        expected.append(i)
    scores = torch.tensor(numbers, dtype=torch.float64)
    assert standing_out(scores, compared, 1 - 1e-9, most) == expected


def test_a_dot_grows_to_seven_pixels_and_would_to_31_as_it_was_meant() -> None:
    dot = torch.zeros(1, 48, 48)
    dot[0, 20, 2] = 1
    assert int(grown(dot, 3).sum()) == 7 * 6  # cut off at the border
    dot = torch.zeros(1, 48, 48)
    dot[0, 20, 24] = 1
    assert int(grown(dot, 5 * 3).sum()) == 31**2


def test_the_five_largest_of_every_channel_speak() -> None:
    places = torch.zeros(2, 3, 4)
    places[0, 0, 0], places[1, 2, 1:] = 10.0, 4.0
    torch.testing.assert_close(spoken(places, 5), torch.tensor([2.0, 2.4]) / (2**2 + 2.4**2) ** 0.5)
    torch.testing.assert_close(spoken(places, 99), torch.tensor([10.0, 12.0]) / 244**0.5)


def test_a_flat_map_is_0() -> None:
    assert not rescaled(torch.full((3, 3), 0.4)).any()
    torch.testing.assert_close(rescaled(torch.tensor([[-1.0, 0, 3]])), torch.tensor([[0, 0.25, 1]]))


def test_without_background_every_pixel_has_a_label(monkeypatch: pytest.MonkeyPatch) -> None:
    places, text, image = made(3)
    method = build(monkeypatch, places, text, crf_iterations=0, deviations=9.0)
    method.prepare(Vocabulary.of(*NAMES))
    unit = places[0] / places[0].norm(dim=0)
    (answer,) = method.segment([image])
    nearest = torch.einsum("qd,dhw->qhw", text[:-1], unit).argmax(0)
    assert answer[0, 0] == nearest[0, 0]
    assert answer[-1, -1] == nearest[-1, -1]
    chosen = method.segment([image], [[2, 5]])[0]
    assert {*np.unique(chosen)} <= {2, 5}


def test_a_class_with_several_texts_is_its_strongest_one(monkeypatch: pytest.MonkeyPatch) -> None:
    places, text, image = made(1)
    labels, count = written_out(places[0], text, image)
    assert count
    found = int(labels.max())
    classes = tuple(
        ClassQuery(name, synonyms=("other",) if i == found else ())
        for i, name in enumerate(NAMES, start=1)
    )
    twice = torch.cat([text[: found + 1], -text[found : found + 1], text[found + 1 :]])
    method = build(monkeypatch, places, twice, crf_iterations=0)
    method.prepare(Vocabulary(classes, VOCABULARY.background))
    assert (method.segment([image])[0] == labels).all()


def test_a_side_that_is_no_number_of_patches_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_towers.use(monkeypatch)
    settings = override(SimSeg.Settings, {"weights": "random", "side": 60})
    with pytest.raises(UsageError, match="side=60: must be a multiple of the model's patch, 8 pi"):
        SimSeg(settings, Runtime())


@pytest.mark.parametrize("name", ["side", "pooled", "compared", "candidates"])
def test_settings_that_mean_nothing_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} must be positive"):
        override(SimSeg.Settings, {name: 0})
    with pytest.raises(UsageError, match="erosions must not be negative"):
        override(SimSeg.Settings, {"erosions": -1})
