"""A profile as a picture: latency, throughput and peak memory over batch size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ovbench.leaderboards.tables.profile_words import conditions_words
from ovbench.text import visible

Row = Mapping[str, Any]

# Okabe and Ito's colours, which the colour-blind can tell apart, without the pale yellow.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = {"fp32": "-", "bf16": "--", "fp16": ":"}
MARKERS = "osD^vP*X"
LEGEND_COLUMNS = 3
# Beyond this ratio the smaller lines would lie on the axis of a linear scale.
LOG_SCALE_FROM = 20


class Panel(NamedTuple):
    """One of the plots; ``value`` reads it off a row's figures."""

    title: str
    unit: str
    value: Callable[[Mapping[str, Any]], float | None]


def profile_chart(profile: Mapping[str, Any]) -> Figure:
    """Draw a profile; the colour tells the method, the marker the size, the dashes the precision.

    A whisker goes up to the 95th percentile of latency. The legend lists the configurations
    that have no figures.
    """
    chart = _Chart(profile["conditions"]["grid"])
    panels = _panels(profile["conditions"]["device"])
    lines, missing = _lines(profile["rows"])
    handles = [chart.handle(found[0]) for found in lines] + [_missing(row) for row in missing]
    height = 4.2 + 0.22 * -(-len(handles) // LEGEND_COLUMNS)
    figure = Figure(figsize=(13, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(visible(conditions_words(profile)), fontsize=10, parse_math=False)
    for axes, panel in zip(figure.subplots(1, len(panels)), panels, strict=True):
        chart.draw(axes, panel, lines)
    legend = figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(LEGEND_COLUMNS, len(handles)),
        frameon=False,
        handlelength=3.5,
        fontsize=9,
    )
    for words in legend.get_texts():
        words.set_parse_math(False)  # a name is no formula
    return figure


@dataclass(frozen=True, slots=True)
class _Chart:
    """The profile's grid, which tells how a line looks and where a batch size lies."""

    grid: Mapping[str, Sequence[Any]]

    def draw(self, axes: Axes, panel: Panel, lines: Sequence[Sequence[Row]]) -> None:
        ticks = sorted(self.grid["batch_sizes"])
        values = []
        for rows in lines:
            points = [
                (ticks.index(row["batch_size"]), value)
                for row in sorted(rows, key=lambda row: int(row["batch_size"]))
                if (value := panel.value(row["figures"])) is not None
            ]
            if points:
                axes.plot(*zip(*points, strict=True), **self.look(rows[0]))
                values += [value for _, value in points]
            if panel is LATENCY:
                self._whiskers(axes, rows, ticks)
        axes.set_title(panel.title, fontsize=10)
        axes.set_xlabel("batch size")
        axes.set_ylabel(panel.unit)
        axes.set_xticks(range(len(ticks)), [str(tick) for tick in ticks])
        axes.set_xlim(-0.3, len(ticks) - 0.7)
        if values and max(values) > LOG_SCALE_FROM * min(values) > 0:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
        else:
            axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
        axes.grid(axis="y", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)

    def _whiskers(self, axes: Axes, rows: Sequence[Row], ticks: Sequence[int]) -> None:
        for row in rows:
            latency, where = row["figures"]["latency_s"], ticks.index(row["batch_size"])
            low, high = 1000 * latency["median"], 1000 * latency["p95"]
            axes.plot([where, where], [low, high], color=self.look(row)["color"], linewidth=1)

    def look(self, row: Row) -> dict[str, Any]:
        """How a row's line is drawn."""
        return {
            "color": COLOURS[self.grid["methods"].index(row["method"]) % len(COLOURS)],
            "marker": MARKERS[self.grid["sizes"].index(row["size"]) % len(MARKERS)],
            "linestyle": DASHES[row["precision"]],
            "markersize": 5,
        }

    def handle(self, row: Row) -> Line2D:
        """A line's entry in the legend."""
        return Line2D([], [], label=_label(_name(row)), **self.look(row))


LATENCY = Panel(
    "Latency of a batch: median, up to p95", "ms", lambda f: 1000 * float(f["latency_s"]["median"])
)
THROUGHPUT = Panel("Throughput", "images / s", lambda f: f["images_per_s"])


def _panels(device: str) -> tuple[Panel, ...]:
    on_gpu = device.startswith("cuda")
    key, where = ("peak_gpu_bytes", "GPU") if on_gpu else ("peak_rss_bytes", "process")
    memory = Panel(f"Peak memory, {where}", "GiB", lambda f: f[key] and f[key] / 2**30)
    return LATENCY, THROUGHPUT, memory


def _lines(rows: Sequence[Row]) -> tuple[list[list[Row]], list[Row]]:
    """Rows with figures by all but their batch size, and rows without."""
    lines: dict[str, list[Row]] = {}
    for row in rows:
        if row["figures"] is not None:
            lines.setdefault(_name(row), []).append(row)
    return list(lines.values()), [row for row in rows if row["figures"] is None]


def _missing(row: Row) -> Line2D:
    label = f"{_name(row)}, batch {row['batch_size']}: {row['status'].replace('_', ' ')}"
    return Line2D([], [], label=_label(label), color="0.5", marker="x", linestyle="none")


def _label(name: str) -> str:
    """A name as the legend has it, which leaves out what begins with an underscore."""
    return visible(f" {name}" if name.startswith("_") else name)


def _name(row: Row) -> str:
    return f"{row['method']}, {row['precision']}, {row['size']}"
