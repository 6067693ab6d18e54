"""IPSeg as a whole, with weights that need no download."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovbench.adapters import ipseg
from ovbench.adapters.ipseg import IPSeg
from ovbench.adapters.ipseg.settings import PRESETS, IPSegSettings, settle
from ovbench.datasets import load_dataset
from ovbench.errors import UsageError
from ovbench.harness.contract.datasets import Dataset
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.contract.vocabulary import Background, Exemplar, Vocabulary
from ovbench.harness.registry.methods import choose_method
from ovbench.harness.run.runner import Options, evaluate

TOY = Runtime(checkpoints="toy")
ALONE = IPSegSettings(features="dinov2", grid=20)


@lru_cache(maxsize=1)
def fast() -> IPSeg:
    """Without Stable Diffusion, which takes most of the time."""
    return IPSeg(ALONE, TOY)


@lru_cache(maxsize=1)
def shown() -> Dataset:
    return load_dataset("toyworld", prompts="train")


def one_class(label: int, *exemplars: Exemplar) -> Vocabulary:
    query = shown().vocabulary.classes[label - 1]
    return Vocabulary((replace(query, exemplars=exemplars or query.exemplars),), Background())


def test_it_finds_what_it_is_shown() -> None:
    method, hits = fast(), [0, 0]
    for index in range(3):
        sample = shown().load(index)
        for label in np.unique(sample.label[sample.label > 0]).tolist():
            method.prepare(one_class(label))
            (answer,) = method.segment([sample.image])
            truth = sample.label == label
            hits[0] += int((truth & (answer == 1)).sum())
            hits[1] += int((truth | (answer == 1)).sum())
    # Objects fill about a tenth of the pictures, which is what marking everything would reach.
    assert hits[0] / hits[1] > 0.3


def test_a_prompt_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    method, read = IPSeg(ALONE, TOY), []
    layers = method._extractor.layers
    monkeypatch.setattr(method._extractor, "layers", lambda i: read.append(i) or layers(i))  # type: ignore[func-returns-value]
    method.prepare(one_class(1))
    method.prepare(one_class(1))
    assert len(read) == 1
    image = shown().load(0).image
    first = method.segment([image])
    method.segment([image])
    assert len(read) == 3  # the prompt, and the picture twice
    both = replace(one_class(1), classes=shown().vocabulary.classes[:2])
    method.prepare(both)
    assert len(read) == 4  # the second class alone
    method.prepare(one_class(2))
    method.prepare(one_class(1))  # as when images of several classes alternate
    assert len(read) == 4
    monkeypatch.setattr(ipseg, "REMEMBERED", 1)
    method.prepare(one_class(2))
    method.prepare(one_class(1))  # forgotten
    assert len(read) == 5
    assert (method.segment([image])[0] == first[0]).all()


def test_the_mask_of_a_prompt_is_part_of_it() -> None:
    (exemplar,) = shown().vocabulary.classes[0].exemplars
    assert exemplar.mask is not None
    method = IPSeg(replace(ALONE, prompt_mask="truth"), TOY)
    found = []
    for mask in (exemplar.mask, ~exemplar.mask):
        method.prepare(one_class(1, Exemplar(exemplar.image, mask)))
        found.append(method._embeddings[0][0])
    assert float(found[0] @ found[1]) < 0.9
    with pytest.raises(UsageError, match="prompt_mask=truth needs masks"):
        method.prepare(one_class(1, Exemplar(exemplar.image)))


def test_prompts_of_any_size_and_with_nothing_in_them() -> None:
    method = fast()
    rng = np.random.default_rng(0)
    large = Exemplar(rng.integers(0, 256, (300, 700, 3), dtype=np.uint8))
    blank = Exemplar(np.full((20, 10, 3), 128, np.uint8))
    dot = Exemplar(np.zeros((1, 1, 3), np.uint8))
    method.prepare(one_class(1, large, blank, dot))
    first, *surprises = method.notes
    assert first == "1 classes shown by 3 pictures"
    assert surprises
    assert all(s.startswith("a picture of circle: no") for s in surprises)
    assert method.segment([shown().load(0).image])[0].max() <= 1


def test_a_class_that_nothing_shows_is_refused() -> None:
    names = Vocabulary.of("cat", "dog", "bird", "sheep", "cow")
    shows_one = replace(names, classes=(*names.classes[1:], shown().vocabulary.classes[0]))
    with pytest.raises(
        UsageError, match=r"none shows dog, bird, sheep and 1 more; give some .*--prompts DIR"
    ):
        fast().prepare(shows_one)


def test_every_row_of_the_tables_has_its_preset() -> None:
    chosen = {name: choose_method("ipseg", name, {}).settings for name in PRESETS}
    by_table: dict[str, set[Any]] = {f"table{number}": set() for number in (3, 4, 6, 7)}
    for name, settings in chosen.items():
        values = settings.features, settings.points, settings.centres, settings.prompt_mask
        if name[:6] in by_table:
            by_table[name[:6]].add(values)
    rest = "saliency"
    assert by_table["table3"] == {(f, 32, 4, rest) for f in ("both", "sd", "dinov2")}
    rows = [(32, 32), (32, 16), (32, 8), (32, 4), (32, 2), (4, 4), (8, 4), (16, 4), (64, 4)]
    assert by_table["table4"] == {("both", k, c, rest) for k, c in rows}
    assert by_table["table6"] == {("both", 32, 4, m) for m in ("none", "saliency", "truth")}
    assert by_table["table7"] == {(f, 32, 4, rest) for f in ("mae", "clip")}
    assert chosen["paper"] == IPSegSettings()
    assert chosen["released_code"].timestep == 100


def test_blanks_are_filled_in() -> None:
    assert IPSeg(replace(ALONE, grid=None), TOY).settings.grid == 20
    record = CheckpointRecord("dinov2", "facebook/dinov2-base", None, None)
    assert settle(IPSegSettings(), [record]).grid == 60
    assert settle(IPSegSettings(grid=16), [record]).grid == 16
    with pytest.raises(UsageError, match="grid is a positive multiple of 4"):
        choose_method("ipseg", None, {"grid": "18"})


def test_only_what_is_used_is_loaded() -> None:
    def roles(**settings: Any) -> set[str]:
        method = IPSeg(replace(ALONE, **settings), TOY)
        return {checkpoint.role for checkpoint in method.checkpoints}

    assert roles() == {"dinov2", "dino", "saliency", "sam"}
    assert roles(prompt_mask="pca") == {"dinov2", "sam"}
    assert roles(features="sd", prompt_mask="none") == {"stable_diffusion", "sam"}


def few(dataset: Dataset, tmp_path: Path, **settings: Any) -> dict[str, Any]:
    method = IPSeg(replace(ALONE, **settings), TOY)
    result = evaluate(method, dataset, output=tmp_path / "run", options=Options(limit=3))
    assert result is not None
    assert result["run"]["complete"]
    assert 0 <= result["metrics"]["definitions"]["per_image"] <= 100
    return result


def test_real_perseg(sample_data: Path, tmp_path: Path) -> None:
    for file in (sample_data / "perseg").iterdir():
        name, _, number = file.stem.rpartition("_")
        home = tmp_path / ("Images" if file.suffix == ".jpg" else "Annotations") / name
        home.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, home / f"{number}{file.suffix}")
    result = few(load_dataset("perseg", root=tmp_path), tmp_path, sam_passes="cascade")
    assert result["profile"]["stages"]["prepare"]["mean_s"] > 0


def test_real_fss(sample_data: Path, tmp_path: Path) -> None:
    from ovbench.datasets.fss1000 import class_folders

    for name in class_folders():
        for n in range(1, 11):
            for part, suffix in (("image", "jpg"), ("label", "png")):
                real = sample_data / "fss" / "support" / part / f"{1 + n % 5}.{suffix}"
                link = tmp_path / "fewshot_data" / name / f"{n}.{suffix}"
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(real)
    few(load_dataset("fss1000", root=tmp_path), tmp_path, prompt_mask="truth")


def test_real_coco(sample_data: Path, tmp_path: Path) -> None:
    from ovbench.datasets.choosing.choices import Choices
    from ovbench.datasets.coco20i import InstancePictures
    from ovbench.datasets.prompting.episodes import Episode, EpisodeDataset, episode_info
    from ovbench.datasets.reading.coco_instances import Instances

    home = sample_data / "coco"
    instances = Instances(home / "annotations" / "instances_val2014_100.json")
    pictures = InstancePictures(home / "val2014", instances, [0])
    people = [n for n in pictures.candidates()[0] if (home / "val2014" / n).exists()]
    dataset = EpisodeDataset(
        episode_info(Choices(), "coco20i", "fold0", 1, None, "instances"),
        Vocabulary.of("person", background=True),
        [Episode("0", people[0], people[1], 1), Episode("1", people[1], people[0], 1)],
        pictures,
    )
    few(dataset, tmp_path)
