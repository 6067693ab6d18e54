"""What is reported, for programs: JSON, and CSV with one line per figure."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from ovbench.leaderboards.formats.flat import csv_of
from ovbench.leaderboards.formats.reported_markdown import page_of
from ovbench.leaderboards.reported.benchmarks import benchmarks
from ovbench.leaderboards.reported.published import Figure, figures, sources


def reported_json(pages: Collection[str]) -> str:
    """The figures of some pages, or of all, each with its source and its benchmark here."""
    content = {"reported": [_line(figure) for figure in _of(pages)]}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def reported_csv(pages: Collection[str]) -> str:
    """The same, one line per figure."""
    return csv_of([_line(figure) for figure in _of(pages)])


def _of(pages: Collection[str]) -> list[Figure]:
    return [figure for figure in figures() if not pages or page_of(figure) in pages]


def _line(figure: Figure) -> dict[str, Any]:
    source, benchmark = sources()[figure.source], benchmarks()[figure.dataset]
    printed = asdict(figure) | {"marks": list(figure.marks)}
    del printed["dataset"]
    return {
        "page": page_of(figure),
        "benchmark": benchmark.printed,
        **{f"here_{name}": getattr(benchmark, name) or None
           for name in ("dataset", "split", "background", "subset", "outside")},
        **printed,
        "printed_in": source.name,
        "kind": source.kind,
        "link": source.link or None,
    }  # fmt: skip
