"""Tables in terminals of any width: no word is cut, and no column is lost."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich import box
from rich.table import Table
from rich.text import Text

from ovbench.cli.shared import console
from ovbench.cli.shared.console import PlainConsole
from ovbench.cli.shared.fitting import fitted

WORDS = st.text("abcdef", min_size=1, max_size=12)
CELLS = st.lists(WORDS, min_size=0, max_size=6).map(" ".join)


def printed(table: Table, width: int) -> list[str]:
    shown = PlainConsole(width=width)
    with shown.capture() as captured:
        shown.print(fitted(table, shown))
    return captured.get().splitlines()


@example([("", "", "", "abcdefabcdef")], 16, False, False)
@given(
    st.lists(st.tuples(CELLS, CELLS, CELLS, CELLS), min_size=1, max_size=4),
    st.integers(16, 130),
    st.booleans(),
    st.booleans(),
)
def test_every_word_is_there_at_every_width(
    rows: list[tuple[str, ...]], width: int, headed: bool, folds: bool
) -> None:
    table = Table(box=box.SIMPLE_HEAD if headed else None, show_header=headed)
    for name in ("first one", "second", "third", "fourth") if headed else [""] * 4:
        table.add_column(name, overflow="fold" if folds else "ellipsis")
    for row in rows:
        table.add_row(*row)
    lines = printed(table, width)
    assert max(map(len, lines)) <= width
    asked = sorted(word for row in rows for cell in row for word in cell.split())
    there = sorted(word for line in lines for word in line.split() if set(word) <= set("abcdef"))
    assert there == asked


def test_a_row_that_does_not_fit_is_a_line_per_cell_behind_its_heading() -> None:
    table = Table("", "A", "B", title="Three runs")
    table.add_row("background", "51.23", Text("two\nlines"))
    table.add_row("aeroplane", "7.00", "")
    assert [line.strip() for line in printed(table, 20)] == [
        "Three runs", "background", "A: 51.23", "B: two, lines", "", "aeroplane", "A: 7.00",
    ]  # fmt: skip
    assert len(printed(table, 60)) == 8


def test_a_command_prints_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "24")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    table = Table("run", "measured", "difference")
    table.add_row("maskclip", "51.23", "−0.30")
    console.show(table)
    assert "difference: −0.30" in capsys.readouterr().out


@pytest.mark.parametrize("columns", ["0", "1", "-5", "many"])
def test_a_width_that_is_none_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    table = Table("run", "measured")
    table.add_row("maskclip", "51.23")
    console.show(table)
    assert any(
        "maskclip" in line and "51.23" in line for line in capsys.readouterr().out.split("\n")
    )
