"""CLIP-DINOiser: its heads, its pooling and its rule for the background, written out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from ovbench.adapters.dense_clip import clip_dinoiser as adapter
from ovbench.adapters.dense_clip.clip_dinoiser import CLIPDINOiser
from ovbench.datasets import load_dataset
from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import override
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Vocabulary
from ovbench.models.clip.dinoiser import Dinoiser, DinoiserNetwork, read_dinoiser

VOCABULARY = Vocabulary(
    (ClassQuery("disk", ("circle",)), ClassQuery("star")), Background(("grass", "sky"))
)
IMAGE = load_dataset("toyworld").load(1).image[:80]
SMALL: dict[str, Any] = {"short_side": 96, "window": 96, "window_stride": 48, "prompts": "single"}


def network(width: int) -> DinoiserNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return DinoiserNetwork(width)


@pytest.fixture
def heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions that were not trained, beside the miniature of CLIP."""
    monkeypatch.setattr(
        adapter,
        "load_dinoiser",
        lambda name, width, runtime: Dinoiser(network(width), (), Runtime()),
    )


def built(**settings: Any) -> CLIPDINOiser:
    made = CLIPDINOiser(
        override(CLIPDINOiser.Settings, {**SMALL, **settings}), Runtime(checkpoints="toy")
    )
    made.prepare(VOCABULARY)
    return made


@pytest.mark.parametrize("rule", [True, False])
@pytest.mark.usefixtures("heads")
@torch.inference_mode()
def test_probabilities_are_those_of_the_steps_written_out(rule: bool) -> None:
    method = built(background_rule=rule, sure=1.0)
    visual = method.clip.visual
    windows = method._windows(method._input(IMAGE)).cut(method._input(IMAGE))
    caught = []
    block = visual.transformer.resblocks[-3]
    hook = block.ln_2.register_forward_hook(lambda _m, _i, out: caught.append(out))
    visual(functional.interpolate(windows, (96, 96)))  # CLIP's own forward pass, at its own size
    hook.remove()
    values = method.clip.dense_features(windows, residual=True).values
    count, _, height, width = values.shape
    (seen,) = caught
    assert seen.shape[:2] == (count, 1 + height * width)
    net = network(seen.shape[2])
    patches = seen[:, 1:].mT.reshape(count, -1, height, width)
    features = functional.normalize(net.obj_proj(patches).flatten(2), dim=1)
    likely = []
    for i in range(count):
        corrs = features[i].T @ features[i]
        corrs[corrs < 0.2] = 0
        flat = values[i].flatten(1)
        pooled = torch.stack([(row * flat).sum(1) / (row.sum() + 1e-6) for row in corrs], dim=1)
        cosines = method.text @ functional.normalize(pooled, dim=0)
        found = (100 * cosines).softmax(dim=0)
        if rule:
            logits = net.bkg_decoder(functional.normalize(patches[i : i + 1], dim=1)).flatten()
            for place in range(height * width):
                if found[:, place].max() < 1.0 and logits[place].sigmoid() <= 0.5:
                    found[0, place] = 1
        likely.append(found.reshape(-1, height, width))
    answer = method.cosines(windows)
    torch.testing.assert_close(answer, torch.stack(likely), atol=2e-4, rtol=0)
    assert rule == bool((answer.sum(dim=1) > 1.01).any())


@torch.inference_mode()
def test_the_teacher_pools_by_dino_and_asks_found() -> None:
    method = built(guide="teacher", background_rule=True, sure=1.0)
    windows = method._windows(method._input(IMAGE)).cut(method._input(IMAGE))
    pooled, foreground = method._pooled(windows)
    assert foreground is not None
    assert pooled.shape[-2:] == foreground.shape[-2:]
    assert 0 < (foreground > 0.5).float().mean() < 1
    (labels,) = method.segment([IMAGE])
    assert labels.shape == IMAGE.shape[:2]


@pytest.mark.usefixtures("heads")
def test_without_background_there_is_no_rule() -> None:
    method = built(background_rule=True)
    method.prepare(Vocabulary.of("disk", "star"))
    pooled, foreground = method._pooled(torch.zeros(1, 3, 96, 96))
    assert foreground is None
    assert pooled.isfinite().all()


def test_the_authors_file_is_read_for_its_heads(tmp_path: Path) -> None:
    own = network(8)
    content = {"clip_backbone.backbone.logit_scale": torch.zeros(()), **own.state_dict()}
    torch.save({"epoch": 3, "model_state_dict": content}, tmp_path / "last.pt")
    found = read_dinoiser(tmp_path / "last.pt", 8)
    assert torch.equal(found.obj_proj.weight, own.obj_proj.weight)
    with pytest.raises(UsageError, match="is for a CLIP of 8 channels, and this one has 16"):
        read_dinoiser(tmp_path / "last.pt", 16)
    torch.save({"model_state_dict": {"obj_proj.bias": torch.zeros(256)}}, tmp_path / "half.pt")
    with pytest.raises(UsageError, match=r"half\.pt"):
        read_dinoiser(tmp_path / "half.pt", 8)


def test_there_is_no_miniature_of_the_heads() -> None:
    with pytest.raises(UsageError, match="no miniature of clip_dinoiser"):
        built()
