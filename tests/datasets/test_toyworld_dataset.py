from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ovbench.datasets import load_dataset
from ovbench.errors import DataError, UsageError
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.world import NAMES, SPLITS


def test_both_datasets_show_the_same_scenes() -> None:
    things, stuff = load_dataset("toyworld"), load_dataset("toyworld_stuff")
    ignored = load_dataset("toyworld", background="ignore")
    assert list(things.ids) == list(stuff.ids)
    for index in (0, 17, 499):
        a, b, c = (dataset.load(index) for dataset in (things, stuff, ignored))
        assert (a.image == b.image).all()
        assert a.label.dtype == np.uint8
        assert (a.label == np.where(b.label < 10, b.label + 1, 0)).all()
        assert (c.label == np.where(b.label < 10, b.label, 255)).all()


def test_vocabularies() -> None:
    things, stuff = load_dataset("toyworld"), load_dataset("toyworld_stuff")
    assert things.vocabulary.names == ("background", *NAMES[:10])
    assert things.vocabulary.background.queries == NAMES[10:]
    assert stuff.vocabulary.names == NAMES
    assert [c.kind for c in stuff.vocabulary.classes] == ["thing"] * 10 + ["stuff"] * 5
    assert things.info.rendered
    assert things.info.expected_images == len(things.ids) == 500


def test_an_id_names_its_scene() -> None:
    dataset = load_dataset("toyworld_stuff", split="test")
    sample = dataset.load(123)
    assert sample.id == dataset.ids[123] == "test-000123"
    scene = render_scene(SPLITS["test"][123])
    assert (sample.image == scene.image).all()
    assert (sample.label == scene.label).all()


def test_a_value_the_renderer_does_not_use_is_refused() -> None:
    dataset = load_dataset("toyworld")
    assert dataset.decode(np.array([[0, 9, 14]], np.uint8), Path("a.png")).tolist() == [[1, 10, 0]]
    with pytest.raises(DataError, match=r"a\.png: label values \[15\] are unknown to toyworld"):
        dataset.decode(np.array([[0, 15]], np.uint8), Path("a.png"))


def test_splits_do_not_share_scenes() -> None:
    seen: set[bytes] = set()
    for split in ("train", "val", "test"):
        dataset = load_dataset("toyworld", split=split)
        scenes = {dataset.load(index).image.tobytes() for index in range(50)}
        assert len(scenes) == 50
        assert not seen & scenes
        seen |= scenes


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("toyworld", {"split": "dev"}, "no split 'dev'; it has train, val, test"),
        ("toyworld", {"background": "none"}, "'none' is not 'class' or 'ignore'"),
        ("toyworld_stuff", {"background": "class"}, "has no background to 'class'"),
    ],
)
def test_wrong_arguments(name: str, arguments: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_dataset(name, **arguments)
