"""What a page says, against loops over the images themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovbench.errors import UsageError
from ovbench.harness.contract.datasets import DatasetInfo
from ovbench.harness.files.images import read_label
from ovbench.leaderboards.report.confusions import mistakes, row_shares
from ovbench.leaderboards.report.contents import choose, letter, read_contents


def pairs(dataset: Any, run: Path) -> list[tuple[Any, Any]]:
    """Scored pixels of every image: ground truth and the answer in the run directory."""
    found = []
    for index, name in enumerate(dataset.ids):
        truth = dataset.load(index).label
        answer = read_label(run / "predictions" / f"{name}.png")
        found.append((truth[truth != 255], answer[truth != 255]))
    return found


def miou(truth: Any, answer: Any, labels: Any) -> float:
    ious = []
    for label in labels:
        union = ((truth == label) | (answer == label)).sum()
        if union:
            ious.append(100 * ((truth == label) & (answer == label)).sum() / union)
    return float(np.mean(ious)) if ious else np.nan


@pytest.mark.parametrize("scored", [None, (1, 3)])
def test_mious_and_matrix_are_those_of_the_pixels(
    memory_dataset: Any, made: Any, scored: Any
) -> None:
    dataset = memory_dataset(info=DatasetInfo("memory", "val", "class", scored=scored))
    run = made(dataset)
    contents = read_contents([run], 2)
    found = pairs(dataset, run)
    expected = [miou(*one, scored or range(4)) for one in found]
    assert contents.mious[0] == pytest.approx(expected)
    assert contents.miou(0, dataset.ids[3]) == pytest.approx(expected[3])
    matrix = np.zeros((4, 4), int)
    for truth, answer in found:
        for t, a in zip(truth.tolist(), answer.tolist(), strict=True):
            matrix[t, a] += 1
    assert (contents.reference.matrix == matrix).all()
    ranked = sorted(range(12), key=lambda i: expected[i])
    groups = {one.image: one.groups for one in contents.chosen}
    assert [one.image for one in contents.chosen] == [
        dataset.ids[i] for i in (*ranked[:2], *ranked[5:7], *ranked[10:])
    ]
    assert groups[dataset.ids[ranked[0]]] == ("worst",)
    assert groups[dataset.ids[ranked[5]]] == ("median",)
    assert groups[dataset.ids[ranked[11]]] == ("best",)


def test_mistakes_are_ordered_by_their_share_of_the_class() -> None:
    matrix = np.array([[90, 10, 0], [30, 60, 30], [0, 0, 0]])
    assert row_shares(matrix)[1] == pytest.approx([0.25, 0.5, 0.25])
    assert (row_shares(matrix)[2] == 0).all()
    found = mistakes(matrix)
    assert [(one.truth, one.answer) for one in found] == [(1, 0), (1, 2), (0, 1)]
    assert [one.share for one in found] == pytest.approx([0.25, 0.25, 0.1])
    assert mistakes(matrix, 1) == found[:1]


@pytest.mark.parametrize("count", range(1, 15))
@pytest.mark.parametrize("wanted", [0, 1, 2, 4, 12])
def test_an_image_is_in_one_group(count: int, wanted: int) -> None:
    images = [f"{i:02d}" for i in range(count)]
    mious = np.arange(count, dtype=float)[None]
    chosen = choose(images, mious, wanted)
    assert [one.image for one in chosen] == sorted({one.image for one in chosen})
    assert all(len(one.groups) == 1 for one in chosen)
    if wanted:
        order = [one.groups[0] for one in chosen]
        assert order == sorted(order, key=["worst", "median", "best"].index)
        assert chosen[0].image == images[0]
        assert chosen[-1].image == images[-1]
        assert len(chosen) == min(count, 3 * wanted)
    else:
        assert chosen == []


def test_an_image_without_scored_pixels_is_not_chosen() -> None:
    mious = np.array([[1.0, np.nan, 3.0, 4.0]])
    assert [one.image for one in choose(list("abcd"), mious, 9)] == ["a", "c", "d"]


def test_where_runs_differ_most() -> None:
    mious = np.array([[10.0, 20, 30, 40], [10.0, 25, 90, 41], [9.0, 20, 30, 80]])
    groups = {one.image: one.groups for one in choose(list("abcd"), mious, 2)}
    assert groups == {
        "a": ("worst",), "b": ("worst",), "c": ("best", "changed"), "d": ("best", "changed"),
    }  # fmt: skip


def test_several_runs_are_compared_with_the_first(memory_dataset: Any, made: Any) -> None:
    dataset = memory_dataset()
    runs = [made(dataset, f"run-{c}", c) for c in range(3)]
    contents = read_contents(runs, 2)
    assert [run.letter for run in contents.runs] == ["A", "B", "C"]
    whole = [
        [np.concatenate(part) for part in zip(*pairs(dataset, run), strict=True)] for run in runs
    ]
    for place, comparison in enumerate(contents.comparisons, start=1):
        effect = miou(*whole[place], range(4)) - miou(*whole[0], range(4))
        assert comparison.overall.effect == pytest.approx(effect)


def test_runs_of_other_benchmarks_are_refused(memory_dataset: Any, made: Any) -> None:
    other = memory_dataset(info=DatasetInfo("memory", "train", "class"))
    with pytest.raises(UsageError, match="not of the same benchmark: split val and train"):
        read_contents([made(memory_dataset(), "a"), made(other, "b")], 2)


def test_a_run_that_is_not_finished_is_refused(memory_dataset: Any, made: Any) -> None:
    run = made(memory_dataset())
    (run / "result.json").unlink()
    with pytest.raises(UsageError, match=r"no result\.json here"):
        read_contents([run], 2)


def test_letters() -> None:
    assert [letter(i) for i in (0, 25, 26, 27, 52)] == ["A", "Z", "AA", "AB", "BA"]
