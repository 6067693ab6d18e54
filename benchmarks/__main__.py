"""Run benchmarks, each in a process of its own; add what they find to measured.jsonl and the page.

python -m benchmarks                 all of them: hours, on a machine that does nothing else
python -m benchmarks confusion records
python -m benchmarks --page          only write README.md from what was measured
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from benchmarks.comparison import ROOT
from benchmarks.page import MEASURED, PAGE, append, content_of, page, runs
from ovbench.harness.results.environment import environment

# Each with the packages whose versions its figures rest on.
BENCHMARKS = {
    "confusion": ("numpy", "torch", "torchmetrics"),
    "dense_crf": ("torch", "pydensecrf2"),
    "pnp_ovss": ("torch", "transformers", "pydensecrf2"),
    "sam_grid": ("torch", "segment-anything"),
    "regions": ("torch", "segment-anything", "transformers"),
    "sam3": ("torch", "transformers"),
    "datasets": ("numpy", "torch", "pillow"),
    "overhead": ("numpy", "torch", "pillow"),
    "processes": ("numpy", "torch", "pillow"),
    "prototypes": ("torch",),
    "records": ("numpy",),
    "large_run": ("numpy",),
    "dense_clip": ("torch", "open-clip-torch"),
}
QUIET = 0.25
"""Load of a core, by the mean of the last minute, below which a machine does nothing else."""


def main() -> int:
    """Measure what is named; 1 if a benchmark failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)  # fmt: skip
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--page", action="store_true", help="measure nothing")
    parser.add_argument("--rows-of", choices=BENCHMARKS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.rows_of:
        rows = import_module(f"benchmarks.{asked.rows_of}").rows()
        print(json.dumps([content_of(row) for row in rows]))
        return 0
    if unknown := [name for name in asked.names if name not in BENCHMARKS]:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    names = [] if asked.page else asked.names or list(BENCHMARKS)
    failed = [name for name in names if not measured(name)]
    PAGE.write_text(page(runs(MEASURED)), encoding="utf-8")
    if failed:
        print(f"not measured: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def measured(name: str) -> bool:
    """Run one and add its rows; whether it came to its end."""
    found = environment("cpu")
    quiet = os.getloadavg()[0] < QUIET * found["cpu_cores"]
    print(f"{name} ...", file=sys.stderr)
    command = [sys.executable, "-m", "benchmarks", "--rows-of", name]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return False
    append(
        {
            "benchmark": name,
            "at": datetime.now(UTC).date().isoformat(),
            "machine": f"{found['cpu_cores']} cores of an {found['cpu']}",
            "quiet": quiet,
            "versions": {"Python": found["python"], **_versions(BENCHMARKS[name])},
            "commit": found["git_commit"],
            "edited": found["git_dirty"],
            "rows": json.loads(done.stdout.splitlines()[-1]),
        },
        MEASURED,
    )
    return True


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    sys.exit(main())
