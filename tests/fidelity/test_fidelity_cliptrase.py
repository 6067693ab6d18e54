"""CLIPtrase against its released attention, and its regions and vote against plain loops."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch
from oracles import built, picture, require_close, vectors
from scipy.ndimage import median_filter
from sklearn.cluster import DBSCAN
from torch.nn import functional

from ovbench.adapters.dense_clip.cliptrase import CLIPtrase, elect, every_facet, self_correlation


@torch.inference_mode()
def test_attention_and_correlation() -> None:
    given, expected = dict(vectors("cliptrase_inputs")), vectors("cliptrase")
    tokens = given.pop("tokens").transpose(0, 1)
    block = oracles.attention_alone(tokens, given, 2, (7, 7))
    found = block.mixed(every_facet(block.heads())).transpose(0, 1)
    require_close(found, expected["last_block_attention_output"])
    require_close(self_correlation(block.heads()), expected["block11_weights"])


@pytest.mark.parametrize("shape", ["square", "wide"])
@torch.inference_mode()
def test_regions_vote(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the released code's steps, one region and one place at a time."""
    method = built(monkeypatch, CLIPtrase, eps=0.6, min_samples=2, image_logits=True)
    method.text = functional.normalize(torch.randn(5, 24, generator=torch.manual_seed(1)), dim=1)
    method._labels = np.array([0, 0, 1, 2, 3])
    found = method.cosines(picture(shape))[0]

    features, tokens, correlation = method._read(picture(shape))
    grid = features.shape[2:]
    unit = functional.normalize(features[0].flatten(1), dim=0)
    scores = (method.text @ unit).reshape(1, 5, *grid)
    whole = 40 * method.text @ functional.normalize(tokens[0], dim=0)
    scores = functional.interpolate(scores * whole[:, None, None], scale_factor=4, mode="bilinear")
    labels = method._labels[scores[0].argmax(0).numpy()]
    weights = correlation[0].numpy()
    cluster = DBSCAN(eps=0.6, min_samples=2).fit_predict(weights)
    assert cluster.max() > 0
    maps = []
    for i in range(cluster.max() + 1):
        mean = torch.from_numpy(weights[cluster == i].mean(0)).reshape(1, 1, *grid)
        fine = functional.interpolate(mean, scale_factor=4, mode="bilinear")[0, 0]
        maps.append(median_filter(fine.numpy(), size=7))
    region = np.stack(maps).argmax(0)
    expected = labels.copy()
    for i in np.unique(region):
        value, count = np.unique(labels[region == i], return_counts=True)
        expected[region == i] = value[count.argmax()]
    assert (expected != labels).any()
    np.testing.assert_array_equal(method._labels[found.argmax(0).numpy()], expected)
    best = scores[0].amax(0)
    torch.testing.assert_close(found.amax(0), best)  # what a place is worth stays
    torch.testing.assert_close(found.sort(0).values, scores[0].sort(0).values)


def test_denoising_leaves_what_stands_above_the_class_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method = built(monkeypatch, CLIPtrase)
    correlation = self_correlation(
        oracles.clip().trunk(picture("small"), positions="dino", states=[9]).at(10).heads()
    )[0]
    found = method._read(picture("small"))[2][0]
    for row, column in ((0, 0), (3, 70), (99, 5)):
        above = float(correlation[row + 1, column + 1] - correlation[0, column + 1])
        assert float(found[row, column]) == pytest.approx(max(above, 0), abs=1e-6)


def test_equal_votes_go_to_the_smallest_label() -> None:
    scores = torch.tensor([[[3.0, 1.0]], [[0.0, 2.0]], [[1.0, 4.0]]])
    elect(scores, torch.tensor([0, 0, 1]), torch.zeros(1, 2, dtype=torch.long))
    assert scores.flatten(1).tolist() == [[3.0, 1.0], [0.0, 4.0], [1.0, 2.0]]


def test_nothing_is_clustered_where_patches_are_far_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    method = built(monkeypatch, CLIPtrase, eps=1e-6, min_samples=50)
    assert method._regions(np.eye(9, dtype=np.float32), (3, 3)) is None
