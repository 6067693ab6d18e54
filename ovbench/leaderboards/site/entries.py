"""What the site knows of every run, as its overview and its comparison read it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from ovbench.errors import UsageError
from ovbench.harness.contract.published import PUBLISHED
from ovbench.harness.files.json_files import SEAL
from ovbench.harness.registry.glance import card_of
from ovbench.leaderboards.tables.labels import labels
from ovbench.leaderboards.tables.marks import marks
from ovbench.leaderboards.tables.overview import Line, differences, usual_conditions
from ovbench.leaderboards.tables.supervision import dearest_labels
from ovbench.leaderboards.tables.table import Conditions, Result, read_result, result_files
from ovbench.text import visible


@dataclass(frozen=True, eq=False)
class Entry:
    """One run of the site.

    Attributes:
        path: of its directory, or of the folder that holds its result.
        made_of: a digest of its result, by which a page that is there is known to be its own.
        key: what its pages are called.
        label: what tables call the method with its settings.
        line: the row of the overview that it stands in.
        unlike: in what its conditions differ from its column's most frequent ones, in words.
    """

    path: Path
    result: Result
    made_of: str
    key: str
    label: str
    line: str
    unlike: str

    @property
    def benchmark(self) -> str:
        """In words; the overview's column."""
        return Conditions.of(self.result).benchmark

    def summary(self) -> dict[str, Any]:
        """What the overview shows and filters by, JSON-ready; text from outside made visible."""
        run, metrics = self.result["run"], self.result["metrics"]
        profile = self.result["profile"]
        return {
            "key": self.key,
            "line": visible(self.line),
            "method": visible(run["method"]),
            "benchmark": visible(self.benchmark),
            "page": slug(self.benchmark),
            "miou": metrics["miou"],
            "interval": metrics["miou_ci95"],
            "images": run["num_images"],
            "same": run["ids_sha256"][:16],
            "supervision": dearest_labels(self.result),
            "backbones": _backbones(run["method"]),
            "preset": preset_kind(run),
            "classes": run["classes"],
            "names": visible(self.result["vocabulary"]["source"].rpartition("/")[2]),
            "weights": run["checkpoints"],
            "s_per_image": profile["per_image_s"]["mean"],
            "peak_gpu": profile["peak_gpu_bytes"],
            "peak_rss": profile["peak_rss_bytes"],
            "marks": [visible(mark) for mark in marks(self.result)],
            "unlike": visible(self.unlike),
        }


def read_entries(paths: Iterable[Path]) -> list[Entry]:
    """Every finished run below some paths, in order of benchmark and method.

    A run that was made twice, under one id, counts once: as it was begun last.

    Raises:
        UsageError: a path holds no result, or one is damaged.
    """
    found: dict[str, tuple[Path, Result]] = {}
    for file in result_files(paths):
        run = (result := read_result(file))["run"]
        before = found.get(run["id"])
        if before is None or (run.get("started") or "") > (before[1]["run"].get("started") or ""):
            found[run["id"]] = (file, result)
    return _entries(list(found.values()))


def slug(words: str) -> str:
    """A file's name for words: readable, and no two alike."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", words).strip("-").lower()[:60]
    digest = sha256(words.encode(errors="surrogatepass")).hexdigest()
    return f"{plain}-{digest[:6]}"


def preset_kind(run: Mapping[str, Any]) -> str:
    """Whether settings are the default ones, a preset's, those published, or changed by hand."""
    if run["changes"]:
        return "changed"
    return {None: "default", PUBLISHED: PUBLISHED}.get(run["preset"], "preset")


def _entries(found: Sequence[tuple[Path, Result]]) -> list[Entry]:
    named = labels([result for _, result in found])
    by_benchmark: defaultdict[str, list[Result]] = defaultdict(list)
    for _, result in found:
        by_benchmark[Conditions.of(result).benchmark].append(result)
    usual = {name: usual_conditions(results) for name, results in by_benchmark.items()}
    entries = []
    for file, result in found:
        conditions, label = Conditions.of(result), named[result["run"]["id"]]
        common = usual[conditions.benchmark]
        unlike = "" if conditions == common else "; ".join(differences(conditions, common))
        entries.append(
            Entry(
                file.parent,
                result,
                result[SEAL],
                slug(f"{result['run']['method']} {result['run']['id']}"),
                label,
                Line.of(label, result).words(),
                unlike,
            )
        )
    return sorted(entries, key=lambda e: (e.benchmark, e.line, e.key))


def _backbones(method: str) -> list[str]:
    try:
        card = card_of(method)
    except UsageError:  # of a package that is not here
        card = None
    return list(card.backbones) if card else []
