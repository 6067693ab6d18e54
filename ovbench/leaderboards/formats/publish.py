"""Results as leaderboards in any format."""

from __future__ import annotations

from collections.abc import Sequence

from ovbench.leaderboards.formats.flat import to_csv, to_json
from ovbench.leaderboards.formats.html import to_html
from ovbench.leaderboards.formats.latex import to_latex
from ovbench.leaderboards.formats.markdown import to_markdown
from ovbench.leaderboards.tables.board_sheet import board_sheet, reported_beside
from ovbench.leaderboards.tables.fields import View
from ovbench.leaderboards.tables.overview import overview
from ovbench.leaderboards.tables.table import Result, boards

_RENDERERS = {"markdown": to_markdown, "html": to_html, "latex": to_latex}
_USUAL = View()


def unreported(results: Sequence[Result]) -> Sequence[str]:
    """The benchmarks of the results, if papers print figures for none of them; else nothing."""
    ranked = boards(results)
    if any(map(reported_beside, ranked)):
        return ()
    return sorted({result["run"]["dataset"] for result in results})


def publish(
    results: Sequence[Result], format: str, view: View = _USUAL, *, with_reported: bool = False
) -> str:
    """All benchmarks side by side, then a ranked table of each.

    The same results give the same text, in whatever order they come.

    Args:
        format: "markdown", "html", "latex", "csv" or "json".
        view: what is shown; CSV and JSON have every column.
        with_reported: add what papers print for a benchmark; CSV has measurements only.

    Raises:
        UsageError: the view names what is not there.
    """
    ranked = boards(results)
    if format == "csv":
        return to_csv(ranked, view)
    if format == "json":
        return to_json(ranked, view, with_reported=with_reported)
    sheets = [board_sheet(board, view, with_reported=with_reported) for board in ranked]
    side_by_side = overview([result for board in ranked for result in board.rows], view)
    return _RENDERERS[format]([*([side_by_side] if side_by_side else []), *sheets])
