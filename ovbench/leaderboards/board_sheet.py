"""One benchmark's leaderboard as a sheet: comparable runs ranked, and what papers report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ovbench.leaderboards.counterparts import Counterpart, counterpart, reported_on
from ovbench.leaderboards.numbers import mebibytes, percent, seconds
from ovbench.leaderboards.reported import Figure, cite, figure_notes
from ovbench.leaderboards.sheet import DASH, Cell, Column, Notes, Sheet, number, places
from ovbench.leaderboards.table import Board, Result, footnotes, variant


@dataclass(frozen=True, slots=True)
class _Field:
    """A column and what it shows of a result; ``ranked``: its largest value is the best."""

    title: str
    show: Callable[[Result], str]
    ranked: bool = False
    numeric: bool = True
    verbatim: bool = False


_FIELDS = (
    _Field("mIoU", lambda r: percent(r["metrics"]["miou"]), ranked=True),
    _Field("95 % interval", lambda r: _interval(*r["metrics"]["miou_ci95"])),
    _Field("pixel acc.", lambda r: percent(r["metrics"]["pixel_accuracy"]), ranked=True),
    _Field("mean acc.", lambda r: percent(r["metrics"]["mean_accuracy"]), ranked=True),
    _Field("boundary IoU", lambda r: percent(r["metrics"]["boundary_iou"]), ranked=True),
    _Field("s/image", lambda r: seconds(r["profile"]["per_image_s"]["mean"])),
    _Field("images/s", lambda r: number(r["profile"]["images_per_s"], ".3g")),
    _Field("prepare s", lambda r: seconds(r["profile"]["prepare_s"])),
    _Field("peak GPU MiB", lambda r: mebibytes(r["profile"]["peak_gpu_bytes"])),
    _Field("peak RSS MiB", lambda r: mebibytes(r["profile"]["peak_rss_bytes"])),
    _Field("parameters M", lambda r: _millions(r["profile"].get("parameters"))),
    _Field("input", lambda r: _input(r["config"]), numeric=False),
    _Field("device", lambda r: _device(r["run"]), numeric=False),
    _Field("run", lambda r: r["run"]["id"], numeric=False, verbatim=True),
)
# What decides at which size and in which pieces a method sees an image, by the settings' names.
_INPUT = ("resolution", "short_side", "max_long_side", "window", "windows", "window_stride")


def board_sheet(board: Board, *, with_reported: bool = False) -> Sheet:
    """A board as a sheet.

    Args:
        with_reported: add what papers print for the benchmark. Boards of miniature weights
            never have it.
    """
    notes, rows = Notes(), board.rows
    methods = [Cell(variant(r), notes=notes.numbers(*footnotes(r))) for r in rows]
    columns = [Column("#"), Column("method", numeric=False)]
    cells = [[Cell(str(rank)) for rank in range(1, len(rows) + 1)], methods]
    for field in _FIELDS:
        texts = [field.show(result) for result in rows]
        if field.title != "mIoU" and set(texts) == {DASH}:
            continue  # nothing to show, such as a GPU's memory on a CPU
        best = places(texts) if field.ranked else [None] * len(rows)
        columns.append(Column(field.title, field.numeric))
        cells.append(
            [Cell(t, p, verbatim=field.verbatim) for t, p in zip(texts, best, strict=True)]
        )
        if field.title == "mIoU" and (deltas := _deltas(rows, notes)):
            columns.append(Column("Δ paper"))
            cells.append(deltas)
    beside = []
    if with_reported and board.conditions.checkpoints != "toy":
        titles = [column.title for column in columns]
        beside = [_reported(f, titles, notes) for f in reported_on(rows[0]["run"])]
    ranked = list(zip(*cells, strict=True))
    return Sheet(board.title, columns, ranked, beside, notes.texts)


def delta_words(found: Counterpart) -> str:
    """The difference to a paper as tables print it."""
    return f"{found.delta:+.1f}".replace("-", "−")


def _deltas(rows: Sequence[Result], notes: Notes) -> list[Cell]:
    """Differences to the papers, empty where no row has one."""
    found = [counterpart(result) for result in rows]
    if not any(isinstance(one, Counterpart) for one in found):
        return []
    return [
        Cell(delta_words(one), notes=notes.numbers(_against(one)))
        if isinstance(one, Counterpart)
        else Cell(DASH)
        for one in found
    ]


def _against(found: Counterpart) -> str:
    figure = found.figure
    definition = "" if found.definition == "union" else f", mIoU as {found.definition}"
    return f"against {figure.value:.1f} on {figure.dataset}, {cite(figure)}{definition}"


def _reported(figure: Figure, titles: Sequence[str], notes: Notes) -> list[Cell]:
    details = ", ".join(text for text in (figure.variant, figure.setting) if text)
    name = f"{figure.method} ({details})" if details else figure.method
    told = figure_notes(figure)
    spread = "" if figure.std is None else f" ± {figure.std:.1f}"
    known = {
        "method": Cell(name, notes=notes.numbers(f"as {cite(figure)} prints it", *told)),
        "mIoU": Cell(f"{figure.value:.1f}{spread}"),
        "run": Cell("reported"),
    }
    return [known.get(title, Cell("")) for title in titles]


def _interval(low: float | None, high: float | None) -> str:
    return DASH if low is None else f"{low:.2f}–{high:.2f}"


def _millions(value: int | None) -> str:
    return number(None if value is None else value / 10**6, ".2f")


def _input(config: Mapping[str, Any]) -> str:
    shown = [f"{name} {_value(config[name])}" for name in _INPUT if config.get(name)]
    return ", ".join(shown) or DASH


def _value(value: Any) -> str:
    return "/".join(map(str, value)) if isinstance(value, list) else str(value)


def _device(run: Mapping[str, Any]) -> str:
    return f"{run['device']}, {run['precision']}, batch {run['batch_size']}"
