"""What a store of 1,000 runs costs: its leaderboard, its site, and holding it against pins.

    python -m benchmarks.thousand_runs [--methods 25] [--benchmarks 40] [--images 100]

Runs of a random method on `toyworld`, copied under other names of methods and benchmarks; one
process each, wall seconds and peak memory. The first page is opened in Chromium where there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ovbench.harness.files.json_files import sealed

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def main() -> None:
    """Print a line for each command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--methods", type=int, default=25)
    parser.add_argument("--benchmarks", type=int, default=40)
    parser.add_argument("--images", type=int, default=100)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs, site = Path(folder) / "runs", Path(folder) / "site"
        store(runs, asked.methods, asked.benchmarks, asked.images)
        pins = Path(folder) / "pins"
        for words in (
            ("leaderboard", runs, "--average", "-o", Path(folder) / "board.md"),
            ("site", runs, "-o", site),
            ("site", runs, "-o", site),
            ("regress", runs, "--expected", pins, "--pin"),
            ("regress", runs, "--expected", pins),
            ("status", runs),
        ):
            print(spent(words), flush=True)
        print(f"site: {sum(f.stat().st_size for f in site.rglob('*')) / 2**20:.0f} MiB")
        print(f"index.html drawn after {drawn(site / 'index.html')} s")


def store(folder: Path, methods: int, benchmarks: int, images: int) -> None:
    """Fill a folder with runs whose names and scores differ."""
    first = folder / "0-0"
    words = ("run", "--method", "random", "--dataset", "toyworld", "--device", "cpu", "--quiet")
    ovbench(*words, "--limit", str(images), "-o", str(first))
    before = json.loads((first / "result.json").read_text(encoding="utf-8"))
    for method in range(methods):
        for benchmark in range(benchmarks):
            run = folder / f"{method}-{benchmark}"
            if run != first:
                shutil.copytree(first, run)
            changed = json.loads(json.dumps(before))
            changed["run"] |= {
                "id": f"{method:04d}{benchmark:08d}",
                "method": f"method{method}",
                "dataset": f"benchmark{benchmark}",
            }
            changed["metrics"]["miou"] = 20 + method + (7 * method * benchmark) % 10
            (run / "result.json").write_text(json.dumps(sealed(changed)), encoding="utf-8")


def spent(words: Sequence[str | Path]) -> str:
    """A command with its wall time and its peak memory."""
    before = time.perf_counter()
    pid = os.fork()
    if pid == 0:  # whose only child's peak is the command's
        ovbench(*map(str, words))
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"{words[0]:12} {time.perf_counter() - before:6.1f} s {peak:6.0f} MiB", end="")
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(pid, 0)
    return ""


def ovbench(*words: str) -> None:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "ovbench", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def drawn(page: Path) -> str:
    """Seconds from opening a page until its table is there, the best of three."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        return "? (no browser)"
    from playwright.sync_api import sync_playwright

    times = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        for _ in range(3):
            shown = browser.new_page()
            before = time.perf_counter()
            shown.goto(page.as_uri())
            shown.wait_for_selector("#overview table")
            times.append(time.perf_counter() - before)
        browser.close()
    return f"{min(times):.2f}"


if __name__ == "__main__":
    main()
