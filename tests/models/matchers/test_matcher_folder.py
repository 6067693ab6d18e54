"""Checkpoint folders, whole and damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from matchers import CLASSES, HEADS, NORMALISATION, build, pictures, save, tokenizer
from safetensors.torch import load_file, save_file
from transformers import BridgeTowerImageProcessor

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.matchers import blip, bridgetower
from ovbench.models.matchers import folder as matcher_folder
from ovbench.models.matchers.folder import Parts, load_parts
from ovbench.models.matchers.matcher import Matcher, Normalisation
from ovbench.models.weights.checkpoints import Located


def load(role: str, folder: Path) -> Parts:
    return load_parts(type(build(role)), HEADS[role], folder)


@pytest.mark.parametrize("role", CLASSES)
def test_a_folder_in_the_hubs_layout_is_loaded(role: str, tmp_path: Path) -> None:
    saved = save(role, tmp_path).state_dict()
    parts = load(role, tmp_path)
    assert parts.normalisation == NORMALISATION
    assert parts.tokenizer("a cat").input_ids == tokenizer(tmp_path)("a cat").input_ids
    loaded = parts.model.state_dict()
    assert loaded.keys() == saved.keys()
    assert all(torch.equal(loaded[name].half(), weight) for name, weight in saved.items())


@pytest.mark.parametrize(
    ("module", "load", "name"),
    [
        (blip, blip.load_blip, "blip_flickr"),
        (bridgetower, bridgetower.load_bridgetower, "bridgetower_large_itm"),
    ],
)
def test_loaders_wrap_what_is_located(
    module: ModuleType,
    load: Callable[[str, Runtime], Matcher],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save(module.ROLE, tmp_path)
    records = (CheckpointRecord(module.ROLE, "here", None, "0"),)
    runtime, asked = Runtime(), []

    def locate(*args: object) -> Located:
        asked.append(args)
        return Located(tmp_path, records)

    monkeypatch.setattr(matcher_folder, "locate", locate)
    matcher = load(name, runtime)
    assert asked == [(module.ROLE, name, runtime)]
    assert matcher.checkpoints == records
    assert (matcher.mean, matcher.std) == NORMALISATION
    assert matcher.encode_images(pictures(1)).levels[0].dtype == torch.float32


def test_another_models_folder_is_refused(tmp_path: Path) -> None:
    save("bridgetower", tmp_path)
    with pytest.raises(UsageError, match="says model type 'bridgetower', not 'blip'"):
        load("blip", tmp_path)


def test_a_checkpoint_without_the_head_is_refused(tmp_path: Path) -> None:
    save("blip", tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if not name.startswith("itm_head")}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UsageError, match="not trained for image-text matching: it has no itm_head"):
        load("blip", tmp_path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def test_a_silent_file_means_what_the_models_own_processors_assume(tmp_path: Path) -> None:
    save("bridgetower", tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"size": 288}')
    processor = BridgeTowerImageProcessor.from_pretrained(tmp_path)
    expected = Normalisation(tuple(processor.image_mean), tuple(processor.image_std))
    assert load("bridgetower", tmp_path).normalisation == expected


@pytest.mark.parametrize(
    ("file", "damage", "reason"),
    [
        ("config.json", Path.unlink, "No such file.*config.json"),
        ("tokenizer.json", Path.unlink, "tokenizer"),
        ("preprocessor_config.json", Path.unlink, "No such file.*preprocessor_config.json"),
        ("model.safetensors", cut, "deserializing"),
    ],
)
def test_damage_is_told_in_one_line(
    tmp_path: Path, file: str, damage: Callable[[Path], object], reason: str
) -> None:
    save("blip", tmp_path)
    damage(tmp_path / file)
    with pytest.raises(UsageError, match=reason) as caught:
        load("blip", tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: cannot be loaded: ")
    assert "\n" not in str(caught.value)
