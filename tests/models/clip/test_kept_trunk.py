"""What enters the last block is read where it was computed before, if that is asked for."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Precision, Runtime
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.files.cache import remembered
from ovbench.harness.files.features import KEEP_FEATURES, features_note, kept_features
from ovbench.harness.registry.methods import load_method
from ovbench.harness.run.runner import Options, evaluate
from ovbench.models.clip import kept
from ovbench.models.clip.model import CLIP, load_clip

pytestmark = pytest.mark.usefixtures("tiny_clips")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that went through the blocks; features are kept."""
    monkeypatch.setenv(KEEP_FEATURES, "100MB")
    found, run = [], kept.run_trunk

    def counting(visual: Any, images: torch.Tensor, **options: Any) -> Any:
        found.append(len(images))
        return run(visual, images, **options)

    monkeypatch.setattr(kept, "run_trunk", counting)
    return found


def loaded(precision: Precision = "fp32", seed: int = 0) -> CLIP:
    return load_clip("tiny-vit", "random", Runtime(precision=precision, seed=seed))


def pixels(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_another_clip_of_the_same_weights_reads_what_the_first_one_computed(
    precision: Precision, runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, read = (loaded(precision).trunk(pixels(), positions="dino") for _ in range(2))
    monkeypatch.delenv(KEEP_FEATURES)
    plain = loaded(precision).trunk(pixels(), positions="dino")
    assert runs == [2, 2]
    for one in (made, read):
        assert torch.equal(one.tokens, plain.tokens)
        assert (one.tokens.dtype, one.grid) == (plain.tokens.dtype, plain.grid)
        assert torch.equal(one.heads().value, plain.heads().value)


def _weight(clip: CLIP) -> None:
    clip.visual.conv1.weight[0, 0, 0, 0] += 1e-3


def _tensor(clip: CLIP) -> None:
    clip.visual.conv1.weight.data = clip.visual.conv1.weight.data + 1e-3


def _option(clip: CLIP) -> None:
    clip.visual.ln_pre.eps = 1e-2


@pytest.mark.parametrize("change", [_weight, _tensor, _option])
def test_a_network_that_was_changed_is_run_again(
    change: Callable[[CLIP], None], runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = loaded()
    before = clip.trunk(pixels()).tokens
    change(clip)
    found = clip.trunk(pixels()).tokens
    assert runs == [2, 2]
    assert not torch.equal(found, before)
    monkeypatch.delenv(KEEP_FEATURES)
    assert torch.equal(found, clip.trunk(pixels()).tokens)


def test_other_pixels_sizes_batches_and_weights_are_other_features(runs: list[int]) -> None:
    clip = loaded()
    clip.trunk(pixels())
    clip.trunk(pixels(1))
    clip.trunk(pixels()[:1])
    clip.trunk(pixels().reshape(2, 3, 48, 32))
    clip.trunk(pixels(), positions="dino")
    loaded(seed=1).trunk(pixels())
    loaded("bf16").trunk(pixels())
    assert runs == [2, 2, 1, 2, 2, 2, 2]
    clip.trunk(pixels(), states=[0])  # is not kept, so nothing is read
    assert runs == [2, 2, 1, 2, 2, 2, 2]


def test_nothing_is_kept_unless_it_is_asked_for(cache: Path) -> None:
    loaded().trunk(pixels())
    assert not (cache / "features").exists()
    assert features_note() == []


def test_what_was_longest_not_asked_for_makes_room(cache: Path) -> None:
    def files() -> list[Path]:
        found = (cache / "features").glob("*.npz")
        return sorted(found, key=lambda path: path.stat().st_mtime_ns)

    def ask(name: str) -> None:
        array = np.zeros(1000, np.uint8)
        remembered("features", {"name": name}, lambda: {"a": array}, most_bytes=4500)
        for place, path in enumerate(files()):  # by a clock finer than the file system's
            os.utime(path, (place, place))

    def name_of(path: Path) -> str:
        with zipfile.ZipFile(path) as archive:
            return str(json.loads(archive.read("about.json"))["key"]["name"])

    for name in ("a", "b", "c", "a", "d"):
        ask(name)
    assert [name_of(path) for path in files()] == ["c", "a", "d"]
    assert sum(path.stat().st_size for path in files()) <= 4500
    assert len(list((cache / "features").glob("*.lock"))) <= 3


@pytest.mark.parametrize(("text", "size"), [("500MB", 5 * 10**8), ("2 TB", 2 * 10**12), ("", None)])
def test_how_much_is_kept(text: str, size: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEEP_FEATURES, text)
    assert kept_features() == size


@pytest.mark.parametrize("text", ["yes", "10", "-1GB", "1.5GB", "٣GB"])
def test_what_is_no_size_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEEP_FEATURES, text)
    with pytest.raises(UsageError, match=f"{KEEP_FEATURES}={text}: must be a size such as"):
        kept_features()
    monkeypatch.setenv(KEEP_FEATURES, "9" * 5000 + "GB")
    with pytest.raises(UsageError, match="must be a size such as"):
        kept_features()


def test_the_second_method_pays_for_its_own_part(
    runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    vocabulary = Vocabulary.of("cat", "sky")
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)]

    def answers(name: str) -> Any:
        settings = {"prompts": "single", "short_side": 48, "window": 32, "window_stride": 16}
        method = load_method(name, settings=settings, device="cpu", checkpoints="toy").segmenter
        method.prepare(vocabulary)
        return method.segment(images)[0]

    answers("sclip")
    first = list(runs)
    found = answers("naclip")
    assert first
    assert runs == first
    monkeypatch.delenv(KEEP_FEATURES)
    assert (found == answers("naclip")).all()


def test_a_result_says_that_times_leave_something_out(
    memory_dataset: Any, thresholds: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEEP_FEATURES, "1GB")
    result = evaluate(thresholds, memory_dataset(), options=Options(limit=1))
    assert result is not None
    assert result["run"]["notes"] == features_note()
    assert "times leave out" in features_note()[0]
