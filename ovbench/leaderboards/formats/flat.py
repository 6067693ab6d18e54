"""Leaderboards for programs: JSON, and CSV with one line per run."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ovbench.leaderboards.reported.counterparts import Counterpart, counterpart
from ovbench.leaderboards.tables.board_sheet import reported_beside
from ovbench.leaderboards.tables.fields import View
from ovbench.leaderboards.tables.marks import marks
from ovbench.leaderboards.tables.supervision import dearest_labels
from ovbench.leaderboards.tables.table import Board, Result
from ovbench.text import visible

# With these a spreadsheet begins a formula, also in the wide forms of East Asian writing.
_FORMULA = re.compile("'*[=+\\-@＝＋－＠]")


def to_json(boards: Sequence[Board], view: View, *, with_reported: bool = False) -> str:
    """Every board with its conditions and rows, numbers unrounded."""
    content = [_board(board, view, with_reported) for board in boards]
    return json.dumps({"boards": content}, indent=2, ensure_ascii=False) + "\n"


def to_csv(boards: Sequence[Board], view: View) -> str:
    """One line per run, its board's conditions first."""
    lines = [
        {**asdict(board.conditions), "rank": rank, **_row(result)}
        for board in boards
        for rank, result in enumerate(view.ordered(board.rows), start=1)
    ]
    return csv_of(lines)


def csv_of(lines: Sequence[Mapping[str, Any]]) -> str:
    """Lines of the same fields.

    A text with which a spreadsheet would begin a formula has an apostrophe before it.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]) if lines else [], lineterminator="\n")
    writer.writeheader()
    for line in lines:
        writer.writerow({k: _plain(v) for k, v in line.items()})
    return text.getvalue()


def _board(board: Board, view: View, with_reported: bool) -> dict[str, Any]:
    ordered = view.ordered(board.rows)
    rows = [{"rank": rank, **_row(r)} for rank, r in enumerate(ordered, start=1)]
    made = {"title": board.title, "conditions": asdict(board.conditions), "rows": rows}
    if with_reported and (figures := reported_beside(board)):
        made["reported"] = [asdict(figure) for figure in figures]
    return made


def _row(result: Result) -> dict[str, Any]:
    run, metrics, profile = result["run"], result["metrics"], result["profile"]
    found = counterpart(result)
    matched = isinstance(found, Counterpart)
    low, high = metrics["miou_ci95"]
    return {
        "run": run["id"],
        "method": run["method"],
        "preset": run["preset"],
        "changes": run["changes"],
        "settings": result["config"],
        "num_images": run["num_images"],
        "miou": metrics["miou"],
        "miou_low": low,
        "miou_high": high,
        "pixel_accuracy": metrics["pixel_accuracy"],
        "mean_accuracy": metrics["mean_accuracy"],
        "boundary_iou": metrics["boundary_iou"],
        "paper_miou": found.figure.value if isinstance(found, Counterpart) else None,
        "paper_delta": found.delta if isinstance(found, Counterpart) else None,
        "paper_note": None if matched else found,
        "s_per_image": profile["per_image_s"]["mean"],
        "queries": profile.get("queries"),
        "s_per_query": profile.get("per_query_s"),
        "images_per_s": profile["images_per_s"],
        "prepare_s": profile["prepare_s"],
        "peak_gpu_bytes": profile["peak_gpu_bytes"],
        "peak_rss_bytes": profile["peak_rss_bytes"],
        "parameters": profile.get("parameters"),
        "device": run["device"],
        "precision": run["precision"],
        "batch_size": run["batch_size"],
        "supervision": dearest_labels(result),
        "trained": result.get("trained"),
        "marks": marks(result),
    }


def _plain(value: Any) -> Any:
    """A value as a cell of CSV."""
    if isinstance(value, dict):
        value = json.dumps(value, ensure_ascii=False)
    text = "; ".join(value) if isinstance(value, list) else value
    if not isinstance(text, str):
        return text
    shown = visible(text)
    return f"'{shown}" if _FORMULA.match(shown) else shown
