"""Equal labels of patches, what lies between them, and spreading along a graph, by plain loops."""

from __future__ import annotations

from math import exp

import pytest
import torch

from ovbench.adapters.parts.affinity import label_affinity, parted, spread

GRID = (4, 7)


def labels() -> torch.Tensor:
    return torch.randint(0, 3, (2, 28), generator=torch.Generator().manual_seed(3))


def between(image: list[int], start: int, end: int) -> bool:
    """On a 4 x 7 grid whose longest line has six steps."""
    (row, column), (down, right) = divmod(start, 7), divmod(end, 7)
    steps = max(abs(down - row), abs(right - column))
    for step in range(steps + 1):
        way = step / 6
        at = round(row + (down - row) * way) * 7 + round(column + (right - column) * way)
        if image[at] != image[start]:
            return True
    return False


def test_what_lies_between() -> None:
    """Lines in the middle of two patches are left to the released vectors: float32 decides."""
    images, found = labels(), parted(labels(), GRID)
    compared = 0
    for image, answer in zip(images.tolist(), found.tolist(), strict=True):
        for i in range(28):
            for j in range(28):
                ways = [abs(b - a) for a, b in zip(divmod(i, 7), divmod(j, 7), strict=True)]
                if all(way * step % 6 != 3 for way in ways for step in range(max(ways) + 1)):
                    assert answer[i][j] == between(image, i, j)
                    compared += 1
    assert compared > 500


@pytest.mark.parametrize("check_path", [True, False])
def test_rows_are_blurred_and_sum_to_one(check_path: bool) -> None:
    images = labels()
    found = label_affinity(images, GRID, sigma=5.0, check_path=check_path)
    apart = parted(images, GRID)
    for image, answer, other in zip(images.tolist(), found, apart, strict=True):
        for i in range(28):
            row = []
            for j in range(28):
                steps = max(abs(i // 7 - j // 7), abs(i % 7 - j % 7))
                weaker = exp(-steps / 6) if check_path and other[i, j] else 1
                row.append(float(image[i] == image[j]) * weaker)
            blurred = [
                sum(row[k] * exp(-((j - k) ** 2) / 50) for k in range(28) if abs(j - k) <= 14)
                for j in range(28)
            ]
            expected = torch.tensor(blurred) / sum(blurred)
            torch.testing.assert_close(answer[i], expected)


def test_one_patch_is_like_itself() -> None:
    one = torch.zeros(1, 1, dtype=torch.long)
    assert label_affinity(one, (1, 1), sigma=5.0, check_path=True).tolist() == [[[1.0]]]


def test_spreading() -> None:
    generator = torch.Generator().manual_seed(4)
    graph, features = torch.rand(2, 5, 5, generator=generator), torch.randn(2, 5, 3)
    found = spread(graph, features)
    for weights, given, answer in zip(graph, features, found, strict=True):
        for i in range(5):
            total = sum(weights[i, j] * given[j] for j in range(5))
            torch.testing.assert_close(answer[i], total / (weights[i].sum() + 1e-6))
