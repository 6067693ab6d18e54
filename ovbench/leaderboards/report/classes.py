"""IoU of every class, and how it changes from run to run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ovbench.leaderboards.gates.comparison import Difference, p_words
from ovbench.leaderboards.report.confusions import mistakes, worst_mistake
from ovbench.leaderboards.report.contents import Contents
from ovbench.leaderboards.report.markup import Content, Html, el
from ovbench.leaderboards.report.tables import Cell, Column, bar_cell, percent_cell, sortable
from ovbench.leaderboards.tables.numbers import percent
from ovbench.leaderboards.tables.sheet import number

_NAME = Column("class", numeric=False)
_SHARE = Column("% of pixels", help="share of the scored ground truth")


def classes(contents: Contents) -> Html:
    """The table, with a filter."""
    several = len(contents.runs) > 1
    columns, rows = _compared(contents) if several else _single(contents)
    note = (
        f"On the {len(contents.images):,} images that every run measured. The interval and p are "
        "from a paired jackknife over the images; p is each class's own: of 20 classes that are "
        "alike, one has p < 0.05."
    )
    return el(
        "section",
        el("h2", "Classes"),
        el("p", note, class_="quiet") if several else None,
        el(
            "p",
            el("label", "Filter classes ", el("input", type="search", data_filters="class-table")),
            el("span", role="status", class_="quiet", data_counts="class-table"),
            class_="controls",
        ),
        sortable("class-table", "IoU of every class", columns, rows),
        id="classes",
    )


def _single(contents: Contents) -> tuple[list[Column], list[list[Cell]]]:
    columns = [
        _NAME,
        Column("IoU"),
        Column("accuracy", help="recall: share of the class's pixels that were found"),
        Column("boundary IoU"),
        _SHARE,
        Column("% answered", help="share of the pixels that were answered with the class"),
        Column("mostly taken for", numeric=False),
    ]
    run = contents.reference
    shares, answered = _shares(contents, "gt_pixels"), _shares(contents, "pred_pixels")
    found, names = mistakes(run.matrix), run.measured.labels
    rows = []
    for row in run.result["per_class"]:
        label = row["index"]
        worst = worst_mistake(found, label)
        taken = Cell("–", None)
        if worst:
            words = f"{names[worst.answer]} {100 * worst.share:.1f} %"
            taken = Cell(words, names[worst.answer])
        rows.append(
            [
                Cell(_name(row["name"], row["scored"]), row["name"]),
                bar_cell(row["iou"], percent(row["iou"]), 100),
                percent_cell(row["accuracy"]),
                percent_cell(row["boundary_iou"]),
                percent_cell(shares[label]),
                percent_cell(answered[label]),
                taken,
            ]
        )
    return columns, rows


def _compared(contents: Contents) -> tuple[list[Column], list[list[Cell]]]:
    first, *others = (run.letter for run in contents.runs)
    columns = [_NAME, _SHARE, Column(f"{first} IoU")]
    for letter in others:
        columns += [
            Column(f"{letter} IoU"),
            Column(f"{letter} − {first}"),
            Column("95 % interval", help="of the difference; sorted by its lower end"),
            Column("p"),
        ]
    shares = _shares(contents, "gt_pixels")
    rows = []
    for place, label in enumerate(contents.reference.measured.scored):
        differences = [comparison.per_class[place] for comparison in contents.comparisons]
        name = differences[0].name
        reference = differences[0].b
        rows.append(
            [
                Cell(name, name),
                percent_cell(shares[label]),
                bar_cell(reference, percent(reference), 100),
                *(cell for difference in differences for cell in _difference(difference)),
            ]
        )
    return columns, rows


def _difference(found: Difference) -> Iterator[Cell]:
    yield bar_cell(found.a, percent(found.a), 100)
    yield Cell(
        el("span", number(found.effect, "+.2f").replace("-", "−"), class_=_direction(found)),
        found.effect,
    )
    span = "–" if found.low is None else f"{number(found.low, '+.2f')} to {found.high:+.2f}"
    yield Cell(span.replace("-", "−"), found.low)
    yield Cell("–" if found.p is None else p_words(found.p).removeprefix("= "), found.p)


def _direction(found: Difference) -> str | None:
    """Better or worse, where the interval leaves zero out."""
    if found.low is None or found.high is None or found.low <= 0 <= found.high:
        return None
    return "better" if found.low > 0 else "worse"


def _name(name: str, scored: bool) -> Content:
    return name if scored else [name, " ", el("span", "not scored", class_="tag")]


def _shares(contents: Contents, key: str) -> Sequence[float]:
    """Of every label, in percent of the first run's scored pixels."""
    rows = contents.reference.result["per_class"]
    total = sum(row[key] for row in rows) or 1
    return [100 * row[key] / total for row in rows]
