"""Leaderboards as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from ovbench.leaderboards.table import Board, Result, footnotes, variant

COLUMNS = ("#", "method", "mIoU", "95 % interval", "pixel acc.", "mean acc.", "boundary IoU",
           "s/image", "prepare s", "peak GPU MiB", "peak RSS MiB", "device", "run")  # fmt: skip


def to_markdown(boards: Sequence[Board]) -> str:
    """One section per board; the same results always give the same text."""
    return "\n\n".join(_section(board) for board in boards) + "\n"


def _section(board: Board) -> str:
    notes: list[str] = []
    lines = [
        f"### {board.title}",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "|".join(" --- " if c in ("method", "device", "run") else " ---: " for c in COLUMNS)
        + "|",
    ]  # fmt: skip
    for rank, result in enumerate(board.rows, start=1):
        lines.append("| " + " | ".join(_cells(rank, result, notes)) + " |")
    if notes:
        lines += ["", *(f"{mark} {text}  " for mark, text in _numbered(notes))]
    return "\n".join(lines)


def _cells(rank: int, result: Result, notes: list[str]) -> list[str]:
    run, metrics, profile = result["run"], result["metrics"], result["profile"]
    low, high = metrics["miou_ci95"]
    return [
        str(rank),
        variant(result).replace("|", "\\|") + _marks(result, notes),
        _percent(metrics["miou"]),
        "–" if low is None else f"{low:.2f}–{high:.2f}",
        _percent(metrics["pixel_accuracy"]),
        _percent(metrics["mean_accuracy"]),
        _percent(metrics["boundary_iou"]),
        _number(profile["per_image_s"]["mean"], ".3g"),
        _number(profile["prepare_s"], ".3g"),
        _mebibytes(profile["peak_gpu_bytes"]),
        _mebibytes(profile["peak_rss_bytes"]),
        f"{run['device']}, {run['precision']}, batch {run['batch_size']}",
        f"`{run['id']}`",
    ]


def _marks(result: Result, notes: list[str]) -> str:
    """Superscript numbers of the row's footnotes, which are added to ``notes``."""
    numbers = []
    for note in footnotes(result):
        if note not in notes:
            notes.append(note)
        numbers.append(str(notes.index(note) + 1))
    return f" <sup>{','.join(numbers)}</sup>" if numbers else ""


def _numbered(notes: Sequence[str]) -> list[tuple[str, str]]:
    return [(f"<sup>{number}</sup>", note) for number, note in enumerate(notes, start=1)]


def _percent(value: float | None) -> str:
    return _number(value, ".2f")


def _number(value: float | None, style: str) -> str:
    return "–" if value is None else format(value, style)


def _mebibytes(value: int | None) -> str:
    return "–" if value is None else f"{value / 2**20:.0f}"
