"""Mean field by compiled loops against that of tensor operations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ovbench.refine import mean_field as tensors

pytest.importorskip("numba")
from ovbench.refine.compiled import mean_field as compiled


def kernels(pixels: int) -> list[tuple[torch.Tensor, float]]:
    """Features of two kernels, and their weights."""
    generator = torch.Generator().manual_seed(pixels)
    places = torch.stack([torch.arange(pixels) % 20, torch.arange(pixels) // 20], 1) / 3.0
    colours = 4 * torch.rand(pixels, 3, generator=generator)
    return [(places, 7.0), (torch.cat([places / 10, colours], 1), 10.0)]


def solved(loops: object, classes: int, pixels: int = 603, threads: int = 1) -> list[torch.Tensor]:
    """Posterior and labels after 0, 1 and 4 steps."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(classes)
    unary = 6 * torch.rand(classes, pixels, generator=generator)
    copies = torch.arange(1.0, classes + 1)
    try:
        made = [loops.kernel(*kernel) for kernel in kernels(pixels)]  # type: ignore[attr-defined]
        field = loops.MeanField(unary, copies, made)  # type: ignore[attr-defined]
        found = []
        for steps in (0, 1, 3):
            for _ in range(steps):
                field.update()
            found += [field.posterior(), field.labels()]
    finally:
        torch.set_num_threads(before)
    return found


# Below, at and above what fills blocks of 8 and 16; filled up by little and by much.
@pytest.mark.parametrize("classes", [1, 2, 8, 9, 15, 16, 21, 33, 59])
def test_it_is_the_field_of_tensors(classes: int) -> None:
    for found, expected in zip(solved(compiled, classes), solved(tensors, classes), strict=True):
        assert found.dtype == expected.dtype
        if found.dtype == torch.int64:
            assert torch.equal(found, expected)
        else:
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("pixels", [1, 2, 603])
def test_numbers_do_not_depend_on_threads(pixels: int) -> None:
    alone = solved(compiled, 5, pixels)
    for threads in (2, 3, 7):
        for one, other in zip(alone, solved(compiled, 5, pixels, threads), strict=True):
            assert torch.equal(one, other)


def test_weights_beyond_what_a_float_can_hold_are_survived() -> None:
    """e to the 80 and more: such classes are as probable as each other."""
    pixels = 40
    heavy = [compiled.kernel(features, 500.0) for features, _ in kernels(pixels)]
    field = compiled.MeanField(torch.rand(3, pixels), torch.ones(3), heavy)
    for _ in range(3):
        field.update()
    assert field.posterior().isfinite().all()


def test_the_exponential() -> None:
    values = np.linspace(-59.9, 79.9, 5001).astype(np.float32)
    found = np.array([compiled._exp(value) for value in values])
    expected = np.exp(values.astype(np.float64))
    assert np.abs(found / expected - 1).max() < 3e-7
    assert compiled._exp(np.float32(-1e30)) == compiled._exp(np.float32(-60)) > 1e-27
