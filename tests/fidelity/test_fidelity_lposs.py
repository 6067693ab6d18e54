"""LPOSS's graphs and its solver against what the released functions computed."""

from __future__ import annotations

import pytest
import torch
from oracles import require_close, vectors

from ovbench.adapters.dense_clip.lposs import centres
from ovbench.models.pixels.windows import Axis, Windows
from ovbench.refine.propagation import patch_graph, pixel_graph, propagate


def graph() -> torch.Tensor:
    given = vectors("lposs_inputs")
    boxes = given["window_boxes"].tolist()
    assert boxes == [[0, 64, 0, 96], [0, 64, 48, 144], [40, 104, 0, 96], [40, 104, 48, 144]]
    windows = Windows(Axis(104, (0, 40), 64, 0, 0), Axis(144, (0, 48), 96, 0, 0))
    return patch_graph(
        given["features"],
        centres(windows, (4, 6), 16),
        neighbours=8,
        sharpness=3.0,
        nearness=0.01,
    )


def test_patches_of_all_windows_are_joined_as_released() -> None:
    found = torch.eye(96) - 0.95 * graph().to_dense()
    require_close(found, vectors("lposs")["laplacian"])


@pytest.mark.parametrize(
    ("iterations", "key"), [(10, "propagated_10_steps"), (1000, "dense_solve")]
)
def test_ten_steps_and_the_solution(iterations: int, key: str) -> None:
    scores = vectors("lposs_inputs")["scores"]
    found = propagate(graph(), scores, alpha=0.95, iterations=iterations)
    require_close(found, vectors("lposs")[key])


@pytest.mark.parametrize("tau", [0.01, 0.1])
def test_pixels_of_like_colour(tau: float) -> None:
    given = vectors("lposs_inputs")
    joined = pixel_graph(given["lab"][0], reach=6, tau=tau)
    found = propagate(joined, given["pixel_scores"], alpha=0.95, iterations=10)
    require_close(found, vectors("lposs")[f"plus_tau{tau}"])
