"""Pictures that show the classes: read from folders, drawn from splits, part of the identity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovbench.datasets import load_dataset
from ovbench.datasets.prompting import prompts
from ovbench.datasets.prompting.prompts import draw, read_class, show_names
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.datasets import DatasetInfo, Sample
from ovbench.harness.contract.vocabulary import ClassQuery, Exemplar, Vocabulary
from ovbench.harness.results.identity import data_conditions


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def square(value: int = 255, shape: tuple[int, int] = (6, 8)) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[1:3, 2:5] = value
    return mask


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes; one picture is grey, one RGBA, one has no mask."""
    rng = np.random.default_rng(0)
    home = tmp_path / "prompts"
    save(home / "cat" / "b.png", rng.integers(0, 256, (6, 8), dtype=np.uint8))
    save(home / "cat" / "b_mask.png", square(1))
    save(home / "cat" / "a.png", rng.integers(0, 256, (6, 8, 4), dtype=np.uint8))
    save(home / "potted_plant" / "x.jpg", rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    (home / "cat" / "notes.txt").write_text("mine")
    return home


def test_a_folder_of_pictures(folder: Path) -> None:
    names, (a, b) = read_class(folder, "cat")
    assert names == ("a.png", "b.png")
    stored = np.asarray(Image.open(folder / "cat" / "a.png"))
    assert (a.image == stored[..., :3]).all()  # transparency is dropped
    assert a.mask is None
    assert b.image.shape == (6, 8, 3)
    assert (b.mask == (square() > 0)).all()
    vocabulary = show_names(Vocabulary.of("potted plant", "cat"), folder)
    assert [len(query.exemplars) for query in vocabulary.classes] == [1, 2]


def test_what_is_wrong_with_a_folder(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"no folder 'dog' with pictures of the class 'dog'"):
        show_names(Vocabulary.of("cat", "dog"), folder)
    with pytest.raises(UsageError, match="nowhere: no such folder"):
        show_names(Vocabulary.of("cat"), folder / "nowhere")
    (folder / "dog").mkdir()
    with pytest.raises(UsageError, match=r"dog: no pictures of the class 'dog' here \(\.jpg"):
        read_class(folder, "dog")
    (folder / "dog" / "a.jpg").write_text("no picture")
    with pytest.raises(UsageError, match=r"dog/a\.jpg: not an image"):
        read_class(folder, "dog")
    save(folder / "cat" / "b_mask.png", square(shape=(8, 6)))
    with pytest.raises(UsageError, match=r"b_mask\.png: 6x8 pixels, but its picture has 8x6"):
        read_class(folder, "cat")
    save(folder / "cat" / "b_mask.png", square(0))
    with pytest.raises(UsageError, match=r"b_mask\.png: shows nothing"):
        read_class(folder, "cat")
    save(folder / "cat" / "c_mask.png", square())
    with pytest.raises(UsageError, match=r"c_mask\.png: a mask without its picture"):
        read_class(folder, "cat")


def test_a_class_is_no_path_to_elsewhere(folder: Path) -> None:
    inner = folder / "inner"
    inner.mkdir()
    for name in ("../cat", str(folder / "cat"), ".."):
        with pytest.raises(UsageError, match="with pictures of the class"):
            read_class(inner, name)


def test_masks_of_any_depth_and_spelling(folder: Path) -> None:
    """Masks with small values in deep files are not black, and none is taken for a picture."""
    save(folder / "cat" / "b_mask.png", square(1).astype(np.uint16))
    save(folder / "cat" / "a_MASK.PNG", square(1))
    names, (a, b) = read_class(folder, "cat")
    assert names == ("a.png", "b.png")
    for shown in (a, b):
        assert (shown.mask == (square() > 0)).all()
    save(folder / "potted_plant" / "x_mask.jpg", square(shape=(5, 5)))
    with pytest.raises(UsageError, match=r"x_mask\.jpg: holds JPEG data, .* masks are PNG"):
        read_class(folder, "potted plant")
    save(folder / "gas_mask" / "gas_mask.jpg", square())
    assert read_class(folder, "gas mask")[0] == ("gas_mask.jpg",)
    save(folder / "cat" / "a_mask.png", square(1))
    with pytest.raises(UsageError, match=r"a_mask\.png: a_MASK\.PNG is a mask of the same picture"):
        read_class(folder, "cat")


@dataclass
class Supply:
    """Pictures whose labels are given by hand, ten by ten pixels."""

    labels: Sequence[LabelMap]
    vocabulary: Vocabulary

    @property
    def info(self) -> DatasetInfo:
        return DatasetInfo("supply", "train", "class")

    @property
    def ids(self) -> list[str]:
        return [f"p{i}" for i in range(len(self.labels))]

    def load(self, index: int) -> Sample:
        return Sample(self.ids[index], np.zeros((10, 10, 3), np.uint8), self.labels[index])

    def decode(self, raw: LabelMap, source: Path) -> LabelMap:
        return raw


def labels(**pixels: int) -> LabelMap:
    """A map with so many pixels of label 1, 2, …, given as l1=…, l2=…"""
    flat = np.zeros(100, np.uint8)
    start = 0
    for name, count in pixels.items():
        flat[start : start + count] = int(name[1:])
        start += count
    return flat.reshape(10, 10)


def three() -> Vocabulary:
    kinds = ("thing", "thing", "stuff")
    classes = tuple(ClassQuery(n, kind=k) for n, k in zip("abs", kinds, strict=True))  # type: ignore[arg-type]
    return replace(Vocabulary.of(background=True), classes=classes)


def test_pictures_of_a_class_alone_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "MIN_SHARE", 0.05)
    maps = [
        labels(l1=50, l2=30),  # a beside b
        labels(l1=10, l3=60),  # a alone: what is around it is stuff
        labels(l2=3),  # b, but hardly
        labels(l2=4),
        labels(l1=20, l3=60),  # evaluated
        labels(l255=90, l3=7),
    ]
    supply = Supply(maps, three())
    for seed in range(5):
        chosen = draw(supply, 1, seed, {"p4"})
        assert chosen == [(1,), (0,), (5,)]
        # The one with more of b comes first of the two that hardly show it.
        assert draw(supply, 3, seed, ())[1] == (0, 3, 2)
    with pytest.raises(UsageError, match="--shots 3: supply train shows 'a' in 2 pictures only"):
        draw(supply, 3, 0, {"p4"})
    with pytest.raises(UsageError, match="every image of supply train is evaluated"):
        draw(supply, 1, 0, supply.ids)


def test_the_seed_draws_and_the_evaluated_images_are_left_out() -> None:
    whole = load_dataset("toyworld", split="val")
    drawn = [load_dataset("toyworld", prompts="train", shots=2, seed=s) for s in (0, 0, 1)]
    digests = [dataset.vocabulary.exemplars_sha256 for dataset in drawn]
    assert digests[0] == digests[1] != digests[2]
    shown = drawn[0].info.prompts
    assert shown is not None
    assert (shown.source, shown.shots) == ("train", 2)
    train = load_dataset("toyworld", split="train")
    for label, (query, names) in enumerate(
        zip(drawn[0].vocabulary.classes, shown.pictures, strict=True), start=1
    ):
        assert len(query.exemplars) == len(set(names)) == 2
        for exemplar, name in zip(query.exemplars, names, strict=True):
            sample = train.load(list(train.ids).index(name))
            assert (exemplar.image == sample.image).all()
            assert (exemplar.mask == (sample.label == label)).all()
            assert exemplar.mask is not None
            assert exemplar.mask.any()
    assert list(drawn[0].ids) == list(whole.ids)
    with pytest.raises(UsageError, match="every image of toyworld val is evaluated"):
        load_dataset("toyworld", prompts="val")


def test_an_exemplars_digest_is_of_picture_and_mask() -> None:
    def digest(*exemplars: Exemplar) -> str | None:
        return Vocabulary((ClassQuery("cat", exemplars=exemplars),)).exemplars_sha256

    image, mask = np.zeros((4, 4, 3), np.uint8), np.eye(4, dtype=bool)
    digests = [
        digest(),
        digest(Exemplar(image)),
        digest(Exemplar(image.reshape(2, 8, 3))),
        digest(Exemplar(image + 1)),
        digest(Exemplar(image, mask)),
        digest(Exemplar(image, ~mask)),
        digest(Exemplar(image), Exemplar(image)),
    ]
    assert digests[0] is None
    assert len(set(digests)) == len(digests)


def test_the_identity_names_the_pictures(folder: Path, tmp_path: Path) -> None:
    plain = load_dataset("toyworld")
    assert "prompts" not in data_conditions(plain, plain.ids)
    assert "prompts" not in data_conditions(plain, plain.ids)["dataset"]
    shown = load_dataset("toyworld", prompts="train")
    found = data_conditions(shown, shown.ids)["prompts"]
    assert found["sha256"] == shown.vocabulary.exemplars_sha256
    assert (found["source"], found["shots"]) == ("train", 1)
    assert list(found["pictures"]) == list(shown.vocabulary.names[1:])
    own = replace(plain, vocabulary=show_names(Vocabulary.of("cat"), folder))  # type: ignore[type-var]
    assert data_conditions(own, plain.ids)["prompts"]["source"] == "custom"


def test_prompts_that_cannot_be() -> None:
    with pytest.raises(UsageError, match=r"no such folder, and no split of toyworld either \(toyw"):
        load_dataset("toyworld", prompts="trian")
    with pytest.raises(UsageError, match="--shots goes with --prompts SPLIT only"):
        load_dataset("toyworld", shots=2)
    with pytest.raises(UsageError, match="--shots 0: must be at least 1"):
        load_dataset("toyworld", prompts="train", shots=0)
