"""What the rows of a table are called: no two that were measured with other settings alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ovbench.leaderboards.tables.table import Conditions, Result, method_words, variant


def labels(results: Sequence[Result]) -> dict[str, str]:
    """What each result is called among others, by the id of its run.

    A method with its preset and its changed settings says all, as long as their defaults stay
    what they are. Where results of one benchmark would be called alike though their recorded
    settings differ, as when a package has changed a default between them, the names have those
    settings, too.
    """
    alike: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in results:
        alike[variant(result), Conditions.of(result).benchmark].append(result)
    differing: dict[str, set[str]] = defaultdict(set)
    for (words, _), rows in alike.items():
        differing[words].update(differing_settings([row["config"] for row in rows]))
    return {result["run"]["id"]: _named(result, differing[variant(result)]) for result in results}


def differing_settings(configs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The settings that are not the same in all of these, or that some do not have."""
    for name in sorted({name for config in configs for name in config}):
        first = configs[0]
        if any(name not in one or name not in first or one[name] != first[name] for one in configs):
            yield name


def _named(result: Result, differing: Iterable[str]) -> str:
    run, config = result["run"], result["config"]
    told = {name: config[name] for name in sorted(differing) if name in config}
    return method_words(run["method"], run["preset"], {**run["changes"], **told})
