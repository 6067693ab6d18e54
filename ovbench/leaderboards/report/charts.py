"""Drawings in the page's own colours, as SVG."""

from __future__ import annotations

import io
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from ovbench.harness.metrics.scores import Counts
from ovbench.leaderboards.report.confusions import row_shares
from ovbench.leaderboards.report.markup import Html, el

_BINS = 40
_WIDTH, _HEIGHT, _AXIS = 520, 100, 34
# Of cells of the matrix; in between on a light page and on a dark one.
_RIGHT, _WRONG = (58, 130, 220), (226, 106, 20)
_LARGEST, _SMALLEST, _SIDE = 40, 9, 640
_FIGURES_UP_TO = 24


def histogram(values: npt.NDArray[np.float64], unit: str, marks: Mapping[str, float]) -> Html:
    """How often values occur; the last bar also holds the hundredth part that is larger.

    Args:
        values: at least one.
        marks: names of values to point at.
    """
    low, high = float(values.min()), float(np.percentile(values, 99))
    span = (high - low) or max(abs(high), 1.0) / 100
    counts, _ = np.histogram(np.clip(values, low, high), _BINS, (low, low + span))
    most, step = int(counts.max()), _WIDTH / _BINS
    bars = []
    for place, count in enumerate(counts.tolist()):
        start = low + span * place / _BINS
        height = _HEIGHT * count / most
        hint = f"{start:.3g} to {start + span / _BINS:.3g} {unit}: {count:,}"
        if count:
            bars.append(
                el("g", el("title", hint),
                   el("rect", x=_short(place * step + 0.5), y=_short(_HEIGHT - height),
                      width=_short(step - 1), height=_short(height)))
            )  # fmt: skip
    lines, names = [], []
    for row, (name, value) in enumerate(marks.items()):
        x, y = _WIDTH * min(1.0, max(0.0, (value - low) / span)), -4 - 16 * row
        left = x > 0.6 * _WIDTH
        lines.append(el("line", x1=_short(x), x2=_short(x), y1=y - 8, y2=_HEIGHT, class_="mark"))
        names.append(
            el("text", f"{name} {value:.3g} {unit}", x=_short(x - 4 if left else x + 4), y=y,
               text_anchor="end" if left else "start")
        )  # fmt: skip
    axis = el("line", x1=0, x2=_WIDTH, y1=_HEIGHT, y2=_HEIGHT, class_="axis")
    ends = [
        el("text", f"{low:.3g}", x=0, y=_HEIGHT + 16),
        el("text", f"{low + span:.3g} {unit}", x=_WIDTH, y=_HEIGHT + 16, text_anchor="end"),
    ]
    top = 16 * len(marks)
    return el(
        "svg", bars, axis, ends, lines, names,
        viewBox=f"0 {-top} {_WIDTH} {_HEIGHT + top + _AXIS - 12}", class_="histogram", role="img",
        aria_label=f"Distribution of {len(values):,} values from {low:.3g} to {values.max():.3g} "
        f"{unit}",
    )  # fmt: skip


def interval(value: float | None, low: float | None, high: float | None) -> Html | None:
    """A value between 0 and 100 with its interval."""
    if value is None:
        return None
    whiskers = None
    if low is not None and high is not None:
        whiskers = el("i", class_="range", style=f"left:{low:.2f}%;width:{high - low:.2f}%")
    return el("span", whiskers, el("i", class_="point", style=f"left:{value:.2f}%"),
              class_="interval", aria_hidden="true")  # fmt: skip


def matrix_picture(matrix: Counts, names: Sequence[str], label: str) -> Html:
    """A confusion matrix, every row divided by its sum; the script reads cells out.

    Args:
        matrix: pixels, ground truth in rows.
        names: of the labels.
        label: what assistive technology calls the picture.
    """
    shares, count = row_shares(matrix), len(names)
    cell = max(_SMALLEST, min(_LARGEST, _SIDE // count))
    font = min(13.0, 0.8 * cell)
    margin = round(min(24, max(len(name) for name in names)) * 0.56 * font + 12)
    side = count * cell
    picture = el("image", href=_cells(shares), x=margin, y=margin, width=side, height=side,
                 preserveAspectRatio="none", style="image-rendering:pixelated")  # fmt: skip
    texts = []
    for place, name in enumerate(names):
        middle = margin + (place + 0.5) * cell
        short = name if len(name) <= 24 else f"{name[:23]}…"
        texts += [
            el("text", short, x=margin - 6, y=_short(middle + font / 3), text_anchor="end"),
            el("text", short, transform=f"translate({_short(middle + font / 3)} {margin - 6}) "
               "rotate(-90)"),
        ]  # fmt: skip
    figures = []
    if count <= _FIGURES_UP_TO:
        for row, column in zip(*np.nonzero(shares >= 0.005), strict=True):
            figures.append(
                el("text", f"{100 * shares[row, column]:.0f}",
                   x=_short(margin + (column + 0.5) * cell),
                   y=_short(margin + (row + 0.5) * cell + font / 3), text_anchor="middle")
            )  # fmt: skip
    frame = el("rect", x=margin, y=margin, width=side, height=side, class_="frame")
    cursor = el("rect", width=cell, height=cell, class_="cursor", visibility="hidden")
    size = margin + side + 2
    sparse = [
        {int(c): round(100 * float(row[c]), 2) for c in np.flatnonzero(row)} for row in shares
    ]
    return el(
        "svg", picture, frame, el("g", texts, font_size=_short(font)),
        el("g", figures, font_size=_short(min(11.0, 0.45 * cell)), class_="figures"), cursor,
        viewBox=f"0 0 {size} {size}", class_="matrix", role="img", tabindex=0, aria_label=label,
        style=f"--size:{size}px", data_margin=margin, data_cell=cell,
        data_names=json.dumps(list(names), ensure_ascii=False),
        data_shares=json.dumps(sparse, separators=(",", ":")),
    )  # fmt: skip


def _cells(shares: npt.NDArray[np.float64]) -> str:
    """One pixel per cell; the square root of a share is its opacity, or 1 % would not be seen."""
    pixels = np.empty((*shares.shape, 4), dtype=np.uint8)
    pixels[..., :3] = _WRONG
    pixels[np.arange(len(shares)), np.arange(len(shares)), :3] = _RIGHT
    pixels[..., 3] = np.round(225 * np.sqrt(shares))
    buffer = io.BytesIO()
    Pillow.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{b64encode(buffer.getvalue()).decode()}"


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
