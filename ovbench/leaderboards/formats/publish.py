"""Results as leaderboards in any format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ovbench.leaderboards.formats.flat import to_csv, to_json
from ovbench.leaderboards.formats.html import to_html
from ovbench.leaderboards.formats.latex import to_latex
from ovbench.leaderboards.formats.markdown import to_markdown
from ovbench.leaderboards.tables.board_sheet import board_sheet, reported_beside
from ovbench.leaderboards.tables.fields import View
from ovbench.leaderboards.tables.overview import overview
from ovbench.leaderboards.tables.sheet import Sheet
from ovbench.leaderboards.tables.supervision import by_supervision
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
    if format == "csv":
        return to_csv(boards(results), view)
    if format == "json":
        return to_json(boards(results), view, with_reported=with_reported)
    if not view.by_supervision:
        return _RENDERERS[format](_sheets(results, view, with_reported))
    sheets = [
        replace(sheet, title=f"trained with {labels}: {sheet.title}")
        for labels, group in by_supervision(results).items()
        for sheet in _sheets(group, view, with_reported)
    ]
    return _RENDERERS[format](sheets)


def _sheets(results: Sequence[Result], view: View, with_reported: bool) -> list[Sheet]:
    """All benchmarks side by side, then one by one."""
    ranked = boards(results)
    sheets = [board_sheet(board, view, with_reported=with_reported) for board in ranked]
    side_by_side = overview([result for board in ranked for result in board.rows], view)
    return [*([side_by_side] if side_by_side else []), *sheets]
