"""With what it was measured: the foot of the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from ovbench.harness.contract.supervision import Supervision
from ovbench.leaderboards.report.contents import Contents
from ovbench.leaderboards.report.markup import Content, Html, details, el
from ovbench.leaderboards.report.tables import facts
from ovbench.leaderboards.tables.table import Result

Part: TypeAlias = Callable[[Result], Mapping[str, str]]
"""Names and values of one run."""


def conditions(contents: Contents) -> Html:
    """How every run was made, its settings, checkpoints and environment."""
    parts: Mapping[str, Part] = {
        "Run": _run,
        "Settings": _settings,
        "Trained with": _trained,
        "Checkpoints": _checkpoints,
        "Environment": _environment,
    }
    results = [run.result for run in contents.runs]
    heads = [run.letter for run in contents.runs] if len(results) > 1 else []
    return el(
        "section",
        el("h2", "Conditions"),
        [details(title, facts(_rows(results, part), heads)) for title, part in parts.items()],
        _unreadable(contents),
        id="conditions",
    )


def _rows(results: Sequence[Result], part: Part) -> list[tuple[Content, list[Content]]]:
    """Every name that one of the runs has, marked where the values differ."""
    found = [part(one) for one in results]
    rows: list[tuple[Content, list[Content]]] = []
    for name in dict.fromkeys(name for one in found for name in one):
        values = [one.get(name, "–") for one in found]
        differs = el("span", "differs", class_="tag") if len(set(values)) > 1 else None
        rows.append(([el("code", name), differs], list(values)))
    return rows


def _run(result: Result) -> dict[str, str]:
    run = result["run"]
    changes = ", ".join(f"{name}={_text(value)}" for name, value in run["changes"].items())
    shown = {
        "id": run["id"],
        "method": f"{run['method']} {run['method_version']}",
        "preset": run["preset"],
        **_published(result),
        "changed settings": changes,
        "classes told": run["classes"],
        "seed": run["seed"],
        "device": run["device"],
        "precision": run["precision"],
        "batch size": run["batch_size"],
        "processes": run["processes"],
        "prepared": "; ".join(run["notes"]),
        "started": run["started"],
        "command": run["command"],
    }
    return {name: _text(value) for name, value in shown.items()}


def _published(result: Result) -> dict[str, str]:
    """Of which benchmark the settings are, and where they stand; nothing for any other preset."""
    row = result.get("published")
    if not row:
        return {}
    varying = f"; per benchmark: {', '.join(row['varying'])}" if row["varying"] else ""
    where = f"{row['dataset']}, background {row['background']}: {row['source']}{varying}"
    return {"published values": where}


def _settings(result: Result) -> dict[str, str]:
    return {name: _text(value) for name, value in result["config"].items()}


def _trained(result: Result) -> dict[str, str]:
    """The labels of each data set behind the weights."""
    found = Supervision.of(result)
    if found is None:
        return {}
    return {**found.data, **dict.fromkeys(found.unknown, "unknown")}


def _checkpoints(result: Result) -> dict[str, str]:
    """Of the method and of its class filter."""
    class_filter = result["filter"] or {}
    found = {one["role"]: one for one in result["checkpoints"]}
    found |= {f"filter: {one['role']}": one for one in class_filter.get("checkpoints", [])}
    return {
        role: f"{one['name']} {one['revision'] or ''} sha256 {one['sha256'] or 'unknown'}"
        for role, one in found.items()
    }


def _environment(result: Result) -> dict[str, str]:
    found = dict(result["environment"])
    packages = found.pop("packages", {})
    return {name: _text(value) for name, value in {**found, **packages}.items()}


def _unreadable(contents: Contents) -> list[Html]:
    return [
        details(
            f"Unreadable images of {run.letter}",
            el("ul", [el("li", f"{bad['image']}: {bad['reason']}") for bad in found]),
        )
        for run in contents.runs
        if (found := run.result["run"]["bad_images"])
    ]


def _text(value: Any) -> str:
    if value is None or value == "":
        return "–"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
