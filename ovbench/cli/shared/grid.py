"""A suite's grid: what is done, what is missing, and what is to come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from ovbench.cli.shared.console import say, say_json, show, styled
from ovbench.harness.suite.estimates import Estimate, Experience, duration, estimates, total
from ovbench.harness.suite.ledger import Ledger
from ovbench.harness.suite.missing import Missing, missing_weights
from ovbench.harness.suite.prospects import Prospect
from ovbench.harness.suite.suite_file import Suite
from ovbench.models.weights.catalogue import size_in_words

_UNKNOWN = "unknown"


def show_grid(
    suite: Suite, prospects: Sequence[Prospect], ledger: Ledger, again: str, *, as_json: bool
) -> None:
    """Print it.

    Args:
        again: the command that the suite was asked for with.
    """
    expected = estimates(Experience(ledger.path.parent, prospects, ledger))
    missing = missing_weights(prospects)
    if as_json:
        say_json(_content(suite, prospects, ledger, expected, missing))
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("run", overflow="fold")
    table.add_column("state")
    for heading in ("images", "time", "memory", "disk"):
        table.add_column(heading, justify="right")
    for one in prospects:
        if one.state != "left out":
            table.add_row(*_row(one, ledger, expected.get(one.run.name)))
    if suite.about:
        say(suite.about)
    show(table)
    for line in reasons(prospects, ledger):
        say(line)
    say(_sum(prospects, ledger, expected))
    for line in weights_line(missing, again):
        say(line)
    for need in missing:
        say(f"  {_need(need)}")


def reasons(prospects: Sequence[Prospect], ledger: Ledger) -> list[str]:
    """Why runs cannot be measured, failed or are left out; a reason of several once."""
    found: dict[str, list[str]] = {}
    absent: dict[str, dict[str, None]] = {}
    for one in prospects:
        state, why = _state(one, ledger), one.why
        if state == "failed":
            why = ledger.failures[one.run.name]
        if state == "left out":
            absent.setdefault(why, {})[one.run.benchmark] = None
        elif why:
            found.setdefault(f"{state}: {why}", []).append(one.run.name)
    told = [
        f"{names[0] if len(names) == 1 else f'{len(names)} runs'} {why}"
        for why, names in found.items()
    ]
    return [*told, *(f"{', '.join(there)} left out: {why}" for why, there in absent.items())]


def weights_line(missing: Sequence[Missing], again: str) -> list[str]:
    """How much of the weights is missing, and the command that fetches it; none where all is here.

    Args:
        again: as for :func:`show_grid`.
    """
    if not missing:
        return []
    size, unknown = total(None if one.item is None else one.item.bytes for one in missing)
    more = f" and {unknown} of unknown size" if unknown else ""
    by_hand = sum(one.item is None or one.item.by_hand for one in missing)
    hand = f", but for {by_hand} that no program can fetch" if by_hand else ""
    what = "1 checkpoint is" if len(missing) == 1 else f"{len(missing)} checkpoints are"
    return [
        f"{what} missing, {size_in_words(int(size))}{more}: `{again} --fetch` fetches them{hand}"
    ]


def _state(one: Prospect, ledger: Ledger) -> str:
    failed = one.due and one.run.name in ledger.failures
    return "failed" if failed else one.state


def _row(one: Prospect, ledger: Ledger, expected: Estimate | None) -> tuple[Any, ...]:
    state = _state(one, ledger)
    style = {"done": "green", "failed": "red", "other": "yellow", "not ready": "yellow"}.get(
        state, ""
    )
    images = _UNKNOWN if one.images is None else str(one.images)
    if one.state == "begun":
        images = f"{one.measured} of {images}"
    costs = ("", "", "") if expected is None else _costs(expected)
    return styled(one.run.name, ""), styled(state, style), images, *costs


def _costs(expected: Estimate) -> tuple[str, str, str]:
    memory, disk = expected.memory, expected.disk
    return (
        _UNKNOWN if expected.seconds is None else duration(expected.seconds),
        _UNKNOWN if memory is None else f"{memory / 2**30:.1f} GiB",
        _UNKNOWN if disk is None else size_in_words(int(disk)),
    )


def _sum(prospects: Sequence[Prospect], ledger: Ledger, expected: Mapping[str, Estimate]) -> str:
    counts: dict[str, int] = {}
    for one in prospects:
        state = _state(one, ledger)
        counts[state] = counts.get(state, 0) + 1
    words = ", ".join(f"{count} {state}" for state, count in counts.items())
    seconds, unknown = total(one.seconds for one in expected.values())
    if not expected:
        return words
    if unknown == len(expected):
        return f"{words}; how long the rest takes is unknown before a run like it is done"
    more = f", and {unknown} runs of which nothing tells" if unknown else ""
    return f"{words}; about {duration(seconds)}, one run at a time{more}"


def _need(need: Missing) -> str:
    item = need.item
    waiting = f"{need.runs} run{'s' if need.runs > 1 else ''}"
    if item is None:
        return f"{need.name}: nothing is known of it; {waiting}"
    hand = "by hand, " if item.by_hand else ""
    licence = item.licence or "licence unknown"
    return f"{need.name}: {size_in_words(item.bytes)}, {hand}{item.source}, {licence}; {waiting}"


def _content(
    suite: Suite,
    prospects: Sequence[Prospect],
    ledger: Ledger,
    expected: Mapping[str, Estimate],
    missing: Sequence[Missing],
) -> dict[str, Any]:
    runs = []
    for one in prospects:
        cost = expected.get(one.run.name, Estimate())
        runs.append(
            {
                "run": one.run.name,
                "state": _state(one, ledger),
                "why": ledger.failures.get(one.run.name, one.why) if one.due else one.why,
                "images": one.images,
                "measured": one.measured,
                "seconds": cost.seconds,
                "memory_bytes": cost.memory,
                "disk_bytes": cost.disk,
                "weights": list(one.weights),
            }
        )
    weights = [
        {"checkpoint": need.name, "bytes": need.item and need.item.bytes, "runs": need.runs}
        for need in missing
    ]
    return {"suite": suite.name, "about": suite.about, "runs": runs, "missing_weights": weights}
