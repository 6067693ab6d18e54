"""Leaderboards by what methods were trained with, and the mark of what was seen in training."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from results import result

from ovbench.errors import UsageError
from ovbench.leaderboards.formats.publish import publish
from ovbench.leaderboards.tables.fields import View
from ovbench.leaderboards.tables.marks import marks
from ovbench.leaderboards.tables.supervision import by_supervision, of_supervision

MASKS = "trained on masks: not comparable with methods that never saw one"


def trained(method: str, miou: float, data: dict[str, str], **run: Any) -> dict[str, Any]:
    made = result(method, miou, **run)
    return {**made, "trained": {"data": data, "unknown": []}}


def several() -> list[dict[str, Any]]:
    stuff = {"dataset": "cocostuff", "background": "none", "id": "masked-stuff"}
    return [
        trained("captioned", 40.0, {"CC3M": "captions", "ImageNet": "images"}),
        trained("masked", 60.0, {"COCO": "masks"}),
        trained("masked", 61.0, {"COCO": "masks"}, **stuff),
        result("old", 30.0),
    ]


def test_what_was_seen_in_training_marks_its_own_benchmark_alone() -> None:
    _, voc, stuff, old = several()
    assert marks(voc) == [MASKS]
    assert marks(stuff) == [MASKS, "seen in training: images of COCO, with masks"]
    assert marks(old) == []
    warned = result("warned", 1.0, warnings=[MASKS])
    assert marks({**warned, "trained": voc["trained"]}) == [MASKS]  # once


def test_a_cell_of_the_overview_is_marked() -> None:
    text = publish(several(), "markdown")
    overview = text.partition("\n\n### ")[0]
    (row,) = [line for line in overview.splitlines() if line.startswith("| masked ")]
    assert row == "| masked | 61.00 <sup>1,2</sup> | **60.00** <sup>1</sup> |"
    assert "<sup>2</sup> seen in training: images of COCO, with masks" in overview
    assert "| images, captions |" in text
    assert "| trained with |" in text.replace("|  ", "| ")


def test_filter_and_groups() -> None:
    results = several()
    assert [*by_supervision(results)] == ["captions", "masks", "unknown"]
    assert of_supervision(results, ()) == results
    assert of_supervision(results, ("images", "captions")) == results[:1]
    with pytest.raises(UsageError, match=r"--supervision pixels: there are nothing, images"):
        of_supervision(results, ("pixels",))
    with pytest.raises(UsageError, match=r"boxes: no result of it; there are captions, masks, unk"):
        of_supervision(results, ("boxes",))
    text = publish(results, "html", View(by_supervision=True))
    titles = [line for line in text.splitlines() if "<h2>" in line]
    assert [line.partition(":")[0].partition("<h2>")[2] for line in titles] == [
        "trained with captions",
        *["trained with masks"] * 3,
        "trained with unknown",
    ]


def test_programs_have_it_too() -> None:
    rows = list(csv.DictReader(io.StringIO(publish(several(), "csv"))))
    assert {row["method"]: row["supervision"] for row in rows} == {
        "captioned": "captions",
        "masked": "masks",
        "old": "unknown",
    }
