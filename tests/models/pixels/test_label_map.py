"""The chunked label map against enlarging everything at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ovbench.models.pixels import scores as strips
from ovbench.models.pixels.labels import label_map

UINT8, UINT16 = np.dtype(np.uint8), np.dtype(np.uint16)


def scores(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def enlarged(small: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(small[None], size, mode="bilinear", align_corners=False)[0]


@pytest.fixture(params=[1, 3000, 4 * 2**20], ids=["row by row", "some rows", "at once"])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "CPU_BYTES", request.param)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize(
    ("small", "size"),
    [
        ((7, 4, 6), (37, 53)),
        ((7, 1, 1), (9, 5)),
        ((3, 16, 16), (5, 3)),  # smaller than the grid
        ((1, 4, 4), (8, 8)),
        ((5, 2, 9), (1, 1)),
    ],
)
def test_equals_enlarging_everything(small: tuple[int, ...], size: tuple[int, int]) -> None:
    full = enlarged(scores(*small), size)
    labels = np.arange(small[0])
    found = label_map(scores(*small), labels, size, dtype=UINT8)
    assert found.shape == size
    assert found.dtype == UINT8
    best = full.max(dim=0).values
    chosen = full.gather(0, torch.tensor(found.astype(np.int64))[None])[0]
    torch.testing.assert_close(chosen, best, atol=1e-5, rtol=0)


@pytest.mark.usefixtures("chunk")
def test_the_strongest_synonym_speaks_for_its_label() -> None:
    labels = np.array([2, 0, 2, 1])
    full = enlarged(scores(4, 5, 5), (23, 31))
    expected = torch.stack([full[1], full[3], full[[0, 2]].amax(dim=0)]).argmax(dim=0)
    found = label_map(scores(4, 5, 5), labels, (23, 31), dtype=UINT8)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_low_probability_is_background(scale: float) -> None:
    labels = np.array([1, 2, 3])
    full = enlarged(scores(3, 6, 5), (40, 33))
    probability, label = (full * scale).softmax(dim=0).max(dim=0)
    expected = torch.where(probability < 0.6, 0, label + 1)
    found = label_map(
        scores(3, 6, 5), labels, (40, 33), dtype=UINT8, softmax_scale=scale, background_below=0.6
    )
    clear = (probability - 0.6).abs() > 1e-5
    assert 0 < (expected == 0).float().mean() < 1
    np.testing.assert_array_equal(found[clear], expected[clear])


def test_many_labels_and_large_logits() -> None:
    labels = np.array([0, 60_000])
    found = label_map(
        1e4 * scores(2, 2, 2),
        labels,
        (4, 4),
        dtype=UINT16,
        softmax_scale=100.0,
        background_below=0.1,
    )
    assert found.dtype == UINT16
    assert set(np.unique(found)) == {0, 60_000}


def test_no_query_is_background_everywhere() -> None:
    found = label_map(scores(0, 3, 3), np.array([], dtype=int), (6, 7), dtype=UINT8)
    assert found.shape == (6, 7)
    assert not found.any()


def test_never_holds_every_score_at_full_size() -> None:
    queries, size = 64, (600, 800)
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):  # type: ignore[misc]
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            if isinstance(result, Tensor):
                largest = max(largest, result.nbytes)
            return result

    with Watch():
        label_map(scores(queries, 30, 40), np.arange(queries), size, dtype=UINT8)
    assert 0 < largest <= strips.CPU_BYTES < queries * 600 * 800 * 4 / 10
