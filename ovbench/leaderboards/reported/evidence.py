"""Which figures repeat others, and where sources disagree.

A figure that several papers print is measured once: what a later one copies is no second
measurement. Both questions are answered from the figures alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import cache

from ovbench.leaderboards.reported.published import Figure, figures, sources, systems

ROUNDING = 0.05 + 1e-9
"""Half of the last digit that papers print."""

Row = tuple[str, str, str, str, str, tuple[str, ...]]


@cache
def repeated() -> Mapping[Figure, Figure]:
    """What repeats a figure of another source, and the figure that it repeats.

    It repeats the first of equal value, as rounded in print, for the same system, encoder (where
    both name it), benchmark and metric; half of what the rows share must be equal, and more than
    one figure unless they share only one, for two measurements may meet by chance. First are
    the system's own authors, then the sources in their order. What users write in threads is
    measured by them.
    """
    order = {key: place for place, key in enumerate(sources())}
    alike: dict[tuple[str, str, str], list[Figure]] = defaultdict(list)
    for figure in sorted(figures(), key=lambda f: (not _own(f), order[f.source])):
        alike[figure.method, figure.dataset, figure.metric].append(figure)
    found: dict[Figure, Figure] = {}
    for group in alike.values():
        for place, figure in enumerate(group):
            if sources()[figure.source].kind != "thread":
                earlier = (f for f in group[:place] if f not in found and _same(f, figure))
                origin = next((f for f in earlier if _rows_agree(f, figure)), None)
                if origin is not None:
                    found[figure] = origin
    return found


@cache
def conflicts() -> Mapping[Row, str]:
    """Where sources print different figures for one system under the same conditions.

    Returns:
        By what :func:`row_of` gives: what each source prints, in words.
    """
    printed: dict[Row, dict[str, list[Figure]]] = defaultdict(lambda: defaultdict(list))
    for figure in figures():
        printed[row_of(figure)][figure.source].append(figure)
    return {
        row: f"{row[0]} on {row[1]} is printed differently: {_said(by_source)}"
        for row, by_source in printed.items()
        if not _agree([[f.value for f in given] for given in by_source.values()])
    }


def row_of(figure: Figure) -> Row:
    """What two sources must share to disagree: system, benchmark, metric, conditions."""
    return (
        figure.method,
        figure.dataset,
        figure.metric,
        figure.setting,
        figure.backbone,
        figure.marks,
    )


def figure_notes(figure: Figure) -> Sequence[str]:
    """What a reader must know of a figure: of its system, of conflicts, of itself."""
    system, conflict = systems()[figure.method], conflicts().get(row_of(figure))
    told = [f"{figure.method}: {system.note}"] if system.note else []
    return [*told, *([conflict] if conflict else []), *([figure.note] if figure.note else [])]


def _own(figure: Figure) -> bool:
    return figure.method in sources()[figure.source].systems


def _same(one: Figure, other: Figure) -> bool:
    return (
        one.source != other.source
        and abs(one.value - other.value) <= ROUNDING
        and (one.backbone == other.backbone or not (one.backbone and other.backbone))
    )


@cache
def _rows() -> Mapping[tuple[str, ...], Mapping[tuple[str, str], float]]:
    rows: dict[tuple[str, ...], dict[tuple[str, str], float]] = defaultdict(dict)
    for figure in figures():
        rows[_place(figure)][figure.dataset, figure.metric] = figure.value
    return rows


def _place(figure: Figure) -> tuple[str, ...]:
    return (figure.source, figure.table, figure.method, *figure.details)


def _rows_agree(one: Figure, other: Figure) -> bool:
    a, b = _rows()[_place(one)], _rows()[_place(other)]
    shared = a.keys() & b.keys()
    equal = sum(abs(a[column] - b[column]) <= ROUNDING for column in shared)
    return equal >= min(2, len(shared)) and 2 * equal >= len(shared)


def _agree(given: Sequence[Collection[float]]) -> bool:
    """Whether all of them have a value in common."""
    return any(
        all(any(abs(value - other) <= ROUNDING for other in others) for others in given)
        for value in given[0]
    )


def _said(by_source: Mapping[str, Sequence[Figure]]) -> str:
    by_value: dict[str, list[str]] = defaultdict(list)
    for key, given in by_source.items():
        by_value[" / ".join(figure.printed for figure in given)].append(sources()[key].name)
    return ", ".join(f"{values} ({'; '.join(names)})" for values, names in by_value.items())
