"""Leaderboards for programs: JSON, and CSV with one line per run."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ovbench.leaderboards.counterparts import Counterpart, counterpart, reported_on
from ovbench.leaderboards.marks import marks
from ovbench.leaderboards.table import Board, Result


def to_json(boards: Sequence[Board], *, with_reported: bool = False) -> str:
    """Every board with its conditions and rows, numbers unrounded."""
    content = [_board(board, with_reported) for board in boards]
    return json.dumps({"boards": content}, indent=2, ensure_ascii=False) + "\n"


def to_csv(boards: Sequence[Board]) -> str:
    """One line per run, its board's conditions first."""
    lines = [
        {**asdict(board.conditions), "rank": rank, **_row(result)}
        for board in boards
        for rank, result in enumerate(board.rows, start=1)
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]) if lines else [], lineterminator="\n")
    writer.writeheader()
    for line in lines:
        writer.writerow({k: _joined(v) for k, v in line.items()})
    return text.getvalue()


def _board(board: Board, with_reported: bool) -> dict[str, Any]:
    rows = [{"rank": rank, **_row(r)} for rank, r in enumerate(board.rows, start=1)]
    made = {"title": board.title, "conditions": asdict(board.conditions), "rows": rows}
    if with_reported and board.conditions.checkpoints != "toy":
        made["reported"] = [asdict(figure) for figure in reported_on(board.rows[0]["run"])]
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
        "changes": json.dumps(run["changes"], ensure_ascii=False),
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
        "images_per_s": profile["images_per_s"],
        "prepare_s": profile["prepare_s"],
        "peak_gpu_bytes": profile["peak_gpu_bytes"],
        "peak_rss_bytes": profile["peak_rss_bytes"],
        "parameters": profile.get("parameters"),
        "device": run["device"],
        "precision": run["precision"],
        "batch_size": run["batch_size"],
        "marks": marks(result),
    }


def _joined(value: Any) -> Any:
    return "; ".join(value) if isinstance(value, list) else value
