"""Rows that were measured with other settings are never called alike."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from results import result

from ovbench.leaderboards.formats.publish import publish
from ovbench.leaderboards.gates.against_papers import against_papers
from ovbench.leaderboards.tables.labels import labels

CONTEXT = {"dataset": "context", "background": "ignore", "num_images": 5104}


def measured(name: str, miou: float, config: dict[str, Any], **run: Any) -> dict[str, Any]:
    """A result of one method, its settings as recorded."""
    return {**result("mine", miou, id=name, **run), "config": config}


def test_a_default_that_changed_between_two_results_is_told_in_every_table() -> None:
    old = measured("old", 50.0, {"threshold": 0.2, "layer": 8})
    new = measured("new", 40.0, {"threshold": 0.3, "layer": 8})
    elsewhere = measured("elsewhere", 30.0, {"threshold": 0.3, "layer": 8}, **CONTEXT)
    for format in ("markdown", "html", "latex"):
        page = publish([old, new, elsewhere], format)
        assert "mine (threshold=0.2)" in page
        assert "mine (threshold=0.3)" in page
        assert "layer" not in page
        assert "one of 2 runs" not in page
    top = publish([old, new, elsewhere], "markdown").partition("### voc")[0]
    rows = [line for line in top.splitlines() if line.startswith("| mine")]
    assert len(rows) == 2
    figures = [row.replace("*", "").split(" | ")[1:3] for row in rows]
    assert [[cell.split(" ")[0] for cell in row] for row in figures] == [
        ["–", "50.00"],
        ["30.00", "<u>40.00</u>"],
    ]
    (board,) = json.loads(publish([old, new], "json"))["boards"]
    assert [row["settings"]["threshold"] for row in board["rows"]] == [0.2, 0.3]
    first, second = against_papers([old, new])
    assert first.run != second.run


def test_what_one_of_them_did_not_have_is_told_of_the_other() -> None:
    old = measured("old", 50.0, {"layer": 8})
    new = measured("new", 40.0, {"layer": 8, "blur": None}, changes={"layer": 8}, preset="paper")
    alike = measured("alike", 40.0, {"layer": 8}, changes={"layer": 8}, preset="paper")
    assert labels([old, new, alike]) == {
        "old": "mine",
        "new": "mine (paper, layer=8, blur=None)",
        "alike": "mine (paper, layer=8)",
    }


def test_settings_that_follow_the_benchmark_are_no_difference() -> None:
    here = measured("here", 50.0, {"resolution": 448})
    there = measured("there", 40.0, {"resolution": 672}, **CONTEXT)
    assert set(labels([here, there]).values()) == {"mine"}


CONFIGS = st.dictionaries(st.sampled_from("abc"), st.sampled_from([0, 1, None, "x"]))


@given(st.lists(CONFIGS, min_size=1, max_size=5))
def test_other_settings_are_other_names_and_the_same_are_the_same(
    configs: list[dict[str, Any]],
) -> None:
    named = labels([measured(str(n), 50.0, config) for n, config in enumerate(configs)])
    for n, one in enumerate(configs):
        for m, other in enumerate(configs):
            assert (named[str(n)] == named[str(m)]) == (one == other)
