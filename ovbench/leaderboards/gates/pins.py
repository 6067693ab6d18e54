"""Measurements against pinned values: has the code changed what a method answers?

A pin is a JSON file: the conditions of a run, its mIoU and per-class IoU, how far each may move,
and what it was measured with. Two runs of one commit on one machine agree to the last digit;
another processor or another version of PyTorch moves a few pixels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ovbench.errors import UsageError
from ovbench.harness.files.atomic import ready_folder
from ovbench.harness.files.json_files import leaf, read_json, write_json
from ovbench.leaderboards.gates.verdicts import Finding, Verdict
from ovbench.leaderboards.tables.table import Result, method_words, variant

TOLERANCE: Mapping[str, float] = {"miou": 0.5, "per_class": 3.0}
"""Of a new pin, in percent; one that is pinned again keeps its own."""

_CONDITIONS = (
    *("method", "preset", "changes", "dataset", "variant", "subset", "split", "background"),
    *("classes", "checkpoints", "limit", "num_images", "ids_sha256", "seed", "precision"),
)
Pin = Mapping[str, Any]


def read_pins(folder: Path) -> list[Pin]:
    """Every pin in a folder.

    Raises:
        UsageError: no pins there, or a file that is none; names it.
    """
    files = _files(folder)
    if not files:
        raise UsageError(f"{folder}: no pinned values (*.json) here; --pin writes them")
    return [_checked(file) for file in files]


def against_pins(results: Sequence[Result], pins: Sequence[Pin]) -> list[Verdict]:
    """One verdict per pin, then one per result that has none."""
    verdicts, compared = [], []
    for pin in pins:
        matches = [r for r in results if _conditions(r) == pin["conditions"]]
        compared += matches
        verdicts += [_verdict(pin, result) for result in matches] or [_missing(pin)]
    strangers = [r for r in results if all(r is not one for one in compared)]
    return verdicts + [
        Verdict(_name(_conditions(r)), "unmatched", None, r["metrics"]["miou"], None, "not pinned")
        for r in strangers
    ]


def passes(verdicts: Sequence[Verdict]) -> bool:
    """Whether every pin was measured, every run is pinned, and nothing moved."""
    return bool(verdicts) and all(verdict.finding == "within" for verdict in verdicts)


def pin(results: Sequence[Result], folder: Path) -> list[Path]:
    """Write a pin per result, replacing those of the same conditions.

    Returns:
        The files, in the order of the results.
    """
    ready_folder(folder / "pin.json")
    old = {file: _checked(file) for file in _files(folder)}
    written: dict[Path, None] = {}
    for result in results:
        conditions = _conditions(result)
        same = [file for file, known in old.items() if known["conditions"] == conditions]
        path = same[0] if same else _free(folder, result, {*old, *written})
        tolerance = old[path]["tolerance"] if same else dict(TOLERANCE)
        write_json(path, _content(result, tolerance))
        written[path] = None
    return list(written)


def _content(result: Result, tolerance: Mapping[str, float]) -> dict[str, Any]:
    environment = result["environment"]
    versions = environment.get("packages", {})
    return {
        "conditions": _conditions(result),
        "tolerance": dict(tolerance),
        "miou": result["metrics"]["miou"],
        "per_class": {row["name"]: row["iou"] for row in result["per_class"]},
        "settings": result["config"],
        "checkpoints": [c["sha256"] for c in result["checkpoints"]],
        "measured_with": {
            **{name: environment.get(name) for name in ("cpu", "gpu", "python")},
            **{name: versions.get(name) for name in ("ovbench", "torch", "transformers", "numpy")},
        },
    }


def _conditions(result: Result) -> dict[str, Any]:
    run = result["run"]
    return {
        **{name: run[name] for name in _CONDITIONS},
        "vocabulary_sha256": result["vocabulary"]["sha256"],
        **dict(_brought(result)),
    }


def _brought(result: Result) -> Iterator[tuple[str, Any]]:
    """What a user brought along: files by what they hold, whatever their folders are called."""
    if files := result.get("files"):
        yield from (("variant", None), ("files", dict(files)))
    if prompts := result.get("prompts"):
        drawn = f"{prompts['source']} x{prompts['shots']}"
        yield "prompts", prompts["sha256"] if prompts["shots"] is None else drawn
    if asked := result.get("filter"):
        yield "filter", {name: asked[name] for name in ("name", "settings")}


def _name(conditions: Mapping[str, Any]) -> str:
    method = method_words(conditions["method"], conditions["preset"], conditions["changes"])
    classes = "" if conditions["classes"] == "all" else f", classes {conditions['classes']}"
    background = ", background ignored" if conditions["background"] == "ignore" else ""
    images = f", {conditions['num_images']} images"
    labels = (conditions.get("files") or {}).get("labels")
    own = f", labels {labels[:8]}" if labels else ""
    return f"{method} on {conditions['dataset']}{background}{classes}{images}{own}"


def _verdict(pin: Pin, result: Result) -> Verdict:
    allowed = pin["tolerance"]
    moved = sorted(_moved_classes(pin, result), key=lambda item: -abs(item[1]))
    classes = [item for item in moved if abs(item[1]) > allowed["per_class"]]
    before, now = pin["miou"], result["metrics"]["miou"]
    off = _moved(before, now) > allowed["miou"] or classes
    details = []
    if off:
        details += [f"{name} {change:+.2f}" for name, change in (classes or moved)[:5]]
    details += _changes(pin, result)
    finding: Finding = "off" if off else "within"
    source = f"pinned with {_versions(pin)}"
    return Verdict(_name(pin["conditions"]), finding, before, now, allowed["miou"], source, details)


def _moved_classes(pin: Pin, result: Result) -> Iterator[tuple[str, float]]:
    for row in result["per_class"]:
        before, now = pin["per_class"].get(row["name"]), row["iou"]
        if before != now:
            yield row["name"], (now or 0.0) - (before or 0.0)


def _moved(before: float | None, now: float | None) -> float:
    if before is None or now is None:
        return 0.0 if before is now else float("inf")
    return abs(now - before)


def _changes(pin: Pin, result: Result) -> Iterator[str]:
    """What else differs from the day of the pin, and may be the reason."""
    before, now = pin["settings"], result["config"]
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            yield f"setting {name}: {before.get(name)} → {now.get(name)}"
    if pin["checkpoints"] != [c["sha256"] for c in result["checkpoints"]]:
        yield "other weights"
    torch = leaf(result, "environment.packages.torch")
    if _versions(pin) != f"torch {torch}":
        yield f"{_versions(pin)} → {torch}"


def _versions(pin: Pin) -> str:
    return f"torch {pin['measured_with'].get('torch')}"


def _missing(pin: Pin) -> Verdict:
    name = _name(pin["conditions"])
    tolerance = pin["tolerance"]["miou"]
    return Verdict(name, "unmatched", pin["miou"], None, tolerance, "pinned, but not measured")


def _free(folder: Path, result: Result, taken: set[Path]) -> Path:
    """A file name that says what is pinned."""
    run = result["run"]
    classes = "" if run["classes"] == "all" else f"-{run['classes']}"
    stem = re.sub(r"[^a-z0-9_]+", "-", f"{run['dataset']}-{variant(result)}{classes}".lower())[:100]
    names = (f"{stem.strip('-')}{suffix}" for suffix in ("", *(f"-{n}" for n in range(2, 1000))))
    return next(path for name in names if (path := folder / f"{name}.json") not in taken)


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(folder.glob("*.json"))
    except OSError as error:
        raise UsageError(f"{folder}: cannot be read ({error.strerror})") from None


def _checked(file: Path) -> Pin:
    content = read_json(file)
    wrong = [name for name, fits in _SHAPE.items() if not fits(leaf(content, name))]
    if wrong:
        raise UsageError(f"{file}: not a pinned value ({', '.join(wrong)}: missing or wrong)")
    return content


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_score(value: Any) -> bool:
    return value is None or _is_number(value)


_SHAPE: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("conditions", "conditions.changes"), lambda v: isinstance(v, dict)),
    **dict.fromkeys(("conditions.method", "conditions.dataset"), lambda v: isinstance(v, str)),
    "conditions.preset": lambda v: v is None or isinstance(v, str),
    "conditions.num_images": _is_number,
    "conditions.files": lambda v: v is None or isinstance(v, dict),
    "tolerance.miou": _is_number,
    "tolerance.per_class": _is_number,
    "miou": _is_score,
    "per_class": lambda v: isinstance(v, dict) and all(map(_is_score, v.values())),
    "settings": lambda v: isinstance(v, dict),
    "checkpoints": lambda v: isinstance(v, list),
    "measured_with": lambda v: isinstance(v, dict),
}
