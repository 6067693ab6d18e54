"""One measurement under several seeds: how much of a number is luck.

Every seed is a run of its own, in a directory of its own, which is resumed like any other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from ovbench.errors import UsageError
from ovbench.harness.contract.checks.whole import whole_number
from ovbench.harness.contract.runtime import checked_seed
from ovbench.harness.files.atomic import ready_folder
from ovbench.harness.files.json_files import write_json
from ovbench.harness.results.store import default_directory, identity_digest

SCHEMA_VERSION = 1


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds from ``"42,43,44"``.

    Raises:
        UsageError: not two or more different seeds.
    """
    numbers = [whole_number(part.strip()) for part in text.split(",")]
    if None in numbers:
        raise UsageError(f"--seeds {text[:80]!r}: write whole numbers between commas, as 42,43,44")
    seeds = tuple(checked_seed(number) for number in numbers if number is not None)
    if len(seeds) < 2 or len(set(seeds)) < len(seeds):
        raise UsageError(f"--seeds {text!r}: give two seeds or more, each once")
    return seeds


def over_seeds(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the results of equal runs under different seeds say together; JSON-ready.

    Args:
        results: as :func:`~ovbench.harness.run.runner.evaluate` returns them, two or more.

    Returns:
        Per metric its values in the order of the seeds, their mean, and ``std``, the sample
        standard deviation (divided by n - 1).
    """
    run = results[0]["run"]
    metrics = [result["metrics"] for result in results]
    # Some are lists, and some are null where nothing defines them.
    names = [n for n in metrics[0] if all(isinstance(one[n], float) for one in metrics)]
    return {
        "schema_version": SCHEMA_VERSION,
        "method": run["method"],
        "dataset": run["dataset"],
        "seeds": [result["run"]["seed"] for result in results],
        "runs": [result["run"]["id"] for result in results],
        "metrics": {name: _spread([one[name] for one in metrics]) for name in names},
    }


def _spread(values: Sequence[float]) -> dict[str, Any]:
    return {"mean": fmean(values), "std": stdev(values), "values": list(values)}


def summary_line(summary: Mapping[str, Any]) -> str:
    """Such as ``mIoU 66.3 ± 0.2 over seeds 42, 43, 44``."""
    miou = summary["metrics"].get("miou", {"mean": math.nan, "std": math.nan})
    seeds = ", ".join(map(str, summary["seeds"]))
    return f"mIoU {miou['mean']:.1f} ± {miou['std']:.1f} over seeds {seeds}"


def directory_of_seed(output: Path | None, seed: int) -> Path | None:
    """Where a seed's run goes: below the directory asked for, or to its own default."""
    return None if output is None else output / f"seed-{seed}"


def keep_summary(summary: Mapping[str, Any], output: Path | None) -> Path:
    """Write the summary as ``seeds.json`` beside the runs; returns the file.

    Raises:
        UsageError: it cannot be written.
    """
    if output is None:
        digest = identity_digest({"runs": summary["runs"]})
        output = default_directory(summary["method"], f"{summary['dataset']}-seeds", digest)
    path = output / "seeds.json"
    ready_folder(path)
    write_json(path, summary)
    return path
