"""CASS against its released attention, and its texts against a plain loop."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import oracles
import pytest
import torch
from oracles import built, require_close, vectors
from torch import Tensor
from torch.nn import functional

from ovbench.adapters.dense_clip import cass
from ovbench.adapters.dense_clip.cass import CASS
from ovbench.adapters.parts import spectra
from ovbench.adapters.parts.spectra import Decomposition
from ovbench.adapters.parts.vfm import for_imagenet
from ovbench.errors import UsageError
from ovbench.harness.contract.vocabulary import Vocabulary


def method(monkeypatch: pytest.MonkeyPatch, heads: int = 2, **settings: Any) -> CASS:
    dino = SimpleNamespace(heads=heads, checkpoints=(), patch_size=8)
    monkeypatch.setattr(cass, "load_patch_encoder", lambda *_: dino)
    return built(monkeypatch, CASS, **settings)


def drawn_at_random(keys: Tensor) -> Decomposition:
    """As the released code has it: ten values by random projections, head after head."""
    assert len(keys) == 1
    graphs = keys[0] @ keys[0].mT
    parts = [torch.svd_lowrank(graph.double(), q=10) for graph in graphs]
    return Decomposition(*(torch.stack(part)[None] for part in zip(*parts, strict=True)))


@pytest.mark.parametrize(("key", "stretch"), [("voc21", True), ("voc20", False)])
@torch.inference_mode()
def test_attention(key: str, stretch: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    given = vectors("cass_inputs")
    prefix = "visual.transformer.resblocks.11.attn."
    weights = {
        name.removeprefix(prefix): value
        for name, value in vectors("clip_visual").items()
        if name.startswith(prefix)
    }
    tokens = given["layer_normed_tokens"].transpose(0, 1)
    block = oracles.attention_alone(tokens, weights, 2, (14, 14))
    dino = given["dino_keys"][0, :, 1:].mT.reshape(1, 2, 32, 20, 20)
    released = method(monkeypatch, pairing="released", stretch=stretch)
    monkeypatch.setattr(spectra, "decomposed", drawn_at_random)
    torch.manual_seed(7)
    found = block.mixed(released._found(block.heads(), dino)).transpose(0, 1)
    require_close(found, vectors("cass")[f"{key}.attention_output"])


@torch.inference_mode()
def test_texts_are_drawn_to_what_the_picture_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the released steps, one window and one cluster at a time."""
    one = method(monkeypatch, text_shift=0.3, image_weight=0.4)
    rng = torch.manual_seed(3)
    one.text = functional.normalize(torch.randn(5, 24, generator=rng), dim=1)
    members = [[0, 3], [1], [2, 4]]
    one._clusters = torch.stack([torch.isin(torch.arange(5), torch.tensor(m)) for m in members])
    features = torch.randn(2, 24, 3, 4, generator=rng)
    tokens = torch.randn(2, 24, generator=rng)
    expected = torch.empty(2, 5, 3, 4)
    for window in range(2):
        shown = one.text @ functional.normalize(tokens[window], dim=0)
        patches = functional.normalize(features[window].flatten(1).T, dim=1)
        texts = one.text.clone()
        for cluster in members:
            likely = max(cluster, key=lambda text: float(shown[text]))
            near = (patches @ one.text[likely]).argsort(descending=True)[:2]
            towards = functional.normalize(patches[near].mean(0), dim=0)
            texts[likely] = functional.normalize(0.7 * one.text[likely] + 0.3 * towards, dim=0)
        scores = 0.6 * texts @ patches.T + 0.4 * shown[:, None]
        expected[window] = scores.reshape(5, 3, 4)
    require_close(one._scores(features, tokens), expected)
    whole = one._scores(features, tokens[:1])  # the whole image's token serves all windows
    require_close(whole[:1], expected[:1])


@pytest.mark.parametrize(("below", "clusters"), [(0.0, 3), (0.1, 2), (3.0, 1)])
def test_texts_that_mean_much_the_same_are_one_cluster(
    below: float, clusters: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = method(monkeypatch, cluster_below=below)
    near, far = torch.eye(24)[0] + 0.2 * torch.eye(24)[1], torch.eye(24)[5]
    texts = functional.normalize(torch.stack([torch.eye(24)[0], far, near]), dim=1)
    monkeypatch.setattr(one.clip, "embed_queries", lambda *_: texts)
    one.prepare(Vocabulary.of("a", "b", "c"))
    assert one._clusters.shape == (clusters, 3)
    assert one._clusters.sum(0).tolist() == [1, 1, 1]
    if clusters == 2:
        assert [0, 2] in [row.nonzero().flatten().tolist() for row in one._clusters]


@torch.inference_mode()
def test_the_picture_of_dino(monkeypatch: pytest.MonkeyPatch) -> None:
    """Right: the pixels themselves. Released: NumPy's bytes of the wrong statistics' pixels."""
    right, released = (method(monkeypatch, picture=name) for name in ("right", "released"))
    seen: list[Tensor] = []
    keys = torch.zeros(1, 8, 2, 2)
    for one in (right, released):
        one._dino.features = lambda pixels, facet: seen.append(pixels) or keys  # type: ignore[method-assign]
    pixels = torch.rand(1, 3, 16, 16, generator=torch.manual_seed(0))
    windows = (pixels - 0.5) / 0.5  # as the tower here has it
    right._dino_keys(windows)
    torch.testing.assert_close(seen[0], for_imagenet(pixels))
    released._dino_keys(windows)
    wrong = windows[0].permute(1, 2, 0).numpy() * np.float32([0.229, 0.224, 0.255])
    wrong = (wrong + np.float32([0.485, 0.456, 0.406])) * 255
    shown = np.trunc(wrong).astype(np.int64).astype(np.uint8).transpose(2, 0, 1) / 255
    exact = for_imagenet(torch.from_numpy(shown).float())
    off = (seen[1][0] - exact).abs() > 1e-4  # a value on the edge of two bytes may fall either way
    assert off.float().mean() < 0.01


@torch.inference_mode()
def test_a_wide_window_is_squashed_for_dino(monkeypatch: pytest.MonkeyPatch) -> None:
    one = method(monkeypatch)
    seen: list[Tensor] = []
    one._dino.features = lambda pixels, facet: seen.append(pixels) or torch.zeros(1, 8, 2, 2)  # type: ignore[method-assign]
    one._dino_keys(torch.zeros(1, 3, 20, 40))
    assert seen[0].shape == (1, 3, 16, 16)  # 20 pixels are two patches and a rest


def test_heads_that_cannot_be_swapped_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"as many heads in both: .* has 2, dino_vitb8 has 3"):
        method(monkeypatch, heads=3, pairing="released")
    method(monkeypatch, heads=3)
