"""LPOSS and LPOSS+ as methods: what is joined, and what a label with several texts scores."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import interpolate, normalize

from ovbench.adapters.dense_clip.lposs import LPOSS, LPOSSPlus, centres
from ovbench.adapters.parts.vfm import shown
from ovbench.datasets import load_dataset
from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import override
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Vocabulary
from ovbench.models.pixels.windows import Windows
from ovbench.refine.propagation import pixel_graph, rgb_to_lab

SMALL: dict[str, Any] = {
    "short_side": 48, "window": 40, "window_stride": 16, "neighbours": 20, "prompts": "single",
}  # fmt: skip
VOCABULARY = Vocabulary(
    (ClassQuery("disk", ("circle",)), ClassQuery("star")), Background(("background", "grass"))
)
IMAGE = load_dataset("toyworld").load(1).image[:80]


def built(method: type[LPOSS], vocabulary: Vocabulary = VOCABULARY, **settings: Any) -> LPOSS:
    made = method(override(method.Settings, {**SMALL, **settings}), Runtime(checkpoints="toy"))
    made.prepare(vocabulary)
    return made


def test_centres_are_of_the_whole_input() -> None:
    windows = Windows.over((40, 70), 32, 16)
    found = centres(windows, (2, 2), 16).reshape(-1, 4, 2)
    assert len(found) == 2 * 4
    assert found[0].tolist() == [[8, 8], [8, 24], [24, 8], [24, 24]]
    assert found[-1].tolist() == [[16, 46], [16, 62], [32, 46], [32, 62]]


@torch.inference_mode()
@pytest.mark.parametrize("method", [LPOSS, LPOSSPlus])
def test_labels_are_those_of_the_steps_written_out(method: type[LPOSS]) -> None:
    one = built(method, facet="key", solver_iterations=3, alpha=0.2)
    clip, dino = one.clip, one._dino
    pixels = one._input(IMAGE)
    windows = one._windows(pixels)
    cut = windows.cut(pixels)
    tokens = clip.dense_features(cut, residual=True).values
    raw = shown(cut, clip.mean, clip.std)
    mean, std = (
        torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    alike = dino.features((raw - mean) / std, facet="key")
    tokens = interpolate(tokens, alike.shape[-2:], mode="bilinear")
    rows = normalize(alike, dim=1).permute(0, 2, 3, 1).flatten(0, 2)
    places = centres(windows, tuple(alike.shape[-2:]), dino.patch_size).float()  # type: ignore[arg-type]
    weights = torch.zeros(len(rows), len(rows))
    products = rows @ rows.T
    for i, there in enumerate(products.topk(20, dim=1).indices):
        far = (places[i] - places[there]).norm(dim=1)
        weights[i, there] = products[i, there].clamp_min(0) ** 3 * (-0.01 * far).exp()
    weights = weights + weights.T
    weights.fill_diagonal_(0)
    share = weights.sum(dim=1).rsqrt()
    system = torch.eye(len(rows)) - 0.2 * share[:, None] * weights * share
    scores = normalize(tokens, dim=1).permute(0, 2, 3, 1).flatten(0, 2) @ one.text.T
    found = conjugate_gradients(system, scores, 3)
    count, _, height, width = alike.shape
    maps = found.reshape(count, height, width, -1).permute(0, 3, 1, 2)
    merged = torch.zeros(maps.shape[1], *pixels.shape[1:])
    seen = torch.zeros(pixels.shape[1:])
    side = windows.rows.length, windows.columns.length
    corners = [(top, left) for top in windows.rows.starts for left in windows.columns.starts]
    for one_map, (top, left) in zip(maps, corners, strict=True):
        there = slice(top, top + side[0]), slice(left, left + side[1])
        merged[:, *there] += interpolate(one_map[None], side, mode="bilinear")[0]
        seen[there] += 1
    merged /= seen
    if method is LPOSSPlus:
        lab = rgb_to_lab(shown(pixels[None], clip.mean, clip.std)[0].clamp(0, 1))
        joined = torch.eye(lab[0].numel()) - 0.2 * pixel_graph(lab, reach=6, tau=0.01).to_dense()
        merged = conjugate_gradients(joined, merged.flatten(1).T, 3).T.reshape_as(merged)
    labels = torch.from_numpy(VOCABULARY.query_labels)
    by_label = torch.stack([merged[labels == label].amax(dim=0) for label in range(3)])
    expected = interpolate(by_label[None], IMAGE.shape[:2], mode="bilinear")[0].argmax(dim=0)
    (answer,) = one.segment([IMAGE])
    assert len(expected.unique()) > 1
    assert (torch.from_numpy(answer.astype(int)) == expected).float().mean() > 0.999


def conjugate_gradients(
    system: torch.Tensor, scores: torch.Tensor, iterations: int
) -> torch.Tensor:
    """Column by column, as textbooks have it."""
    solved = []
    for given in scores.T:
        found, residual = torch.zeros_like(given), given.clone()
        direction = residual.clone()
        for _ in range(iterations):
            image = system @ direction
            step = (residual @ residual) / (direction @ image)
            found = found + step * direction
            left = residual - step * image
            direction = left + (left @ left) / (residual @ residual) * direction
            residual = left
        solved.append(found)
    return torch.stack(solved, dim=1)


def test_without_synonyms_scores_of_all_classes_never_exist_at_full_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = built(LPOSS, Vocabulary.of("disk", "star"))
    monkeypatch.setattr(LPOSS, "_by_label", None)
    (answer,) = one.segment([IMAGE])
    assert answer.shape == IMAGE.shape[:2]


@pytest.mark.parametrize(
    ("method", "settings", "said"),
    [
        (LPOSS, {"alpha": 1.0}, "at most 0.9999"),
        (LPOSS, {"neighbours": 0}, "at least 1"),
        (LPOSSPlus, {"tau": 0}, "tau must be positive"),
        (LPOSSPlus, {"reach": 0}, "at least 1"),
    ],
)
def test_wrong_settings(method: type[LPOSS], settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        built(method, **settings)
