"""Results as leaderboards in any format."""

from __future__ import annotations

from collections.abc import Sequence

from ovbench.leaderboards.board_sheet import board_sheet
from ovbench.leaderboards.flat import to_csv, to_json
from ovbench.leaderboards.html import to_html
from ovbench.leaderboards.latex import to_latex
from ovbench.leaderboards.markdown import to_markdown
from ovbench.leaderboards.overview import overview
from ovbench.leaderboards.table import Result, boards

_RENDERERS = {"markdown": to_markdown, "html": to_html, "latex": to_latex}


def publish(results: Sequence[Result], format: str, *, with_reported: bool = False) -> str:
    """All benchmarks side by side, then a ranked table of each.

    The same results give the same text, in whatever order they come.

    Args:
        format: "markdown", "html", "latex", "csv" or "json".
        with_reported: add what papers print for a benchmark; CSV has measurements only.
    """
    ranked = boards(results)
    if format == "csv":
        return to_csv(ranked)
    if format == "json":
        return to_json(ranked, with_reported=with_reported)
    side_by_side = overview([result for board in ranked for result in board.rows])
    sheets = [board_sheet(board, with_reported=with_reported) for board in ranked]
    return _RENDERERS[format]([*([side_by_side] if side_by_side else []), *sheets])
