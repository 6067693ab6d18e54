"""Commands that are killed at any moment and started again, until they end like undisturbed ones.

    python tests/cli/kill_storm.py [--kills 30] [--seed 0]

Every command runs in a fork of this process, which has imported what it needs: the moments lie
within the work, not within the start of Python. Signals take turns.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import cycle
from pathlib import Path
from typing import Any
from unittest import mock

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
HERE = Path(__file__).parent
IMPORTED = (
    "ovbench.cli.app",
    "ovbench.cli.shared.fault",
    "ovbench.cli.progress.run",
    "ovbench.cli.shared.show",
    "ovbench.adapters.chance",
    "ovbench.datasets.fetching.prepare",
    "ovbench.datasets.toyworld",
    "ovbench.harness.run.runner",
    "ovbench.harness.tune.search",
    "ovbench.leaderboards.gates.pins",
    "ovbench.leaderboards.formats.publish",
    "ovbench.models.diffusion.model",
    "ovbench.support.sheet",
    "recipes",
)


@dataclass(frozen=True)
class Command:
    """A command and what it ends with.

    Attributes:
        arguments: of ``ovbench``, with ``{here}`` for the folder it works in and ``{given}`` for
            the one whose content it reads.
        outcome: of that folder; what a clock decides is left out.
    """

    arguments: str
    outcome: Callable[[Path], Any]

    def words(self, here: Path, given: Path) -> list[str]:
        return [one.format(here=here, given=given) for one in self.arguments.split()]


def scores(run: Path) -> Any:
    result = json.loads((run / "run" / "result.json").read_text())
    return json.dumps([result["metrics"], result["per_class"], result["run"]["num_images"]])


def settings(search: Path) -> Any:
    content = json.loads((search / "tune" / "settings.json").read_text())
    for phase in content["tuning"]["phases"]:
        del phase["seconds"]
    return json.dumps(content)


def files(folder: Path) -> Any:
    """Every file's digest; locks stay, and are no content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock" and path.name != "archive.tar"
    }


COMMANDS: Mapping[str, Command] = {
    "run": Command("run -m random -d toyworld --limit 100 --output {here}/run", scores),
    "tune": Command(
        "tune -m peak -d toyworld --limit 6 --trials 0 --set pause=0.01 --output {here}/tune",
        settings,
    ),
    "support": Command(
        "support show ring cross star disc --count 8 --steps 2 --checkpoints toy "
        "--output {here}/sheet.png",
        files,
    ),
    "prepare": Command("datasets prepare voc --root {here}", files),
    "regress --pin": Command("regress {given} --expected {here}/pins --pin", files),
    "leaderboard --update": Command("leaderboard {given} --update {here}/page.md", files),
}


def storm(kills: int, seed: int, folder: Path) -> Iterator[tuple[str, int, int]]:
    """Every command's name, the kills that met it at work, and the starts it took.

    Raises:
        AssertionError: a command ended otherwise than an undisturbed one.
    """
    sys.path[:0] = [str(HERE), str(HERE.parent / "support")]
    for module in IMPORTED:
        import_module(module)
    rng, signals = random.Random(seed), cycle(SIGNALS)
    given = folder / "given"
    prepared(given)
    for number in range(3):
        run = f"run -m random -d toyworld --limit 4 --seed {number} --output {given / str(number)}"
        assert wait(started(run.split(), given)) == 0
    shares = [kills // len(COMMANDS) + (i < kills % len(COMMANDS)) for i in range(len(COMMANDS))]
    for (name, command), share in zip(COMMANDS.items(), shares, strict=True):
        whole, here = folder / "whole", folder / "here"
        for place in (whole, here):
            shutil.rmtree(place, ignore_errors=True)
            prepared(place)
        begun = time.perf_counter()
        assert wait(started(command.words(whole, given), whole)) == 0, name
        takes = time.perf_counter() - begun
        met = starts = 0
        while met < share:
            process = started(command.words(here, given), here)
            time.sleep(rng.uniform(0, takes))
            os.kill(process, next(signals))
            starts += 1
            if wait(process) == 0:  # done before the signal came: from the beginning
                assert command.outcome(here) == command.outcome(whole), name
                shutil.rmtree(here)
                prepared(here)
            else:
                met += 1
        assert wait(started(command.words(here, given), here)) == 0, name
        assert command.outcome(here) == command.outcome(whole), name
        assert not list(here.rglob(".*.part")), name
        yield name, met, starts + 1


def prepared(here: Path) -> None:
    """What a command finds."""
    here.mkdir(parents=True)
    (here / "page.md").write_text("# Mine\n\n<!-- leaderboard -->\n<!-- /leaderboard -->\n")
    with tarfile.open(here / "archive.tar", "w") as archive:
        for number in range(60):
            for name in (f"JPEGImages/{number}.jpg", f"SegmentationClass/{number}.png"):
                info = tarfile.TarInfo(f"VOCdevkit/VOC2012/{name}")
                info.size = 200_000
                archive.addfile(info, io.BytesIO(random.Random(name).randbytes(info.size)))


def started(arguments: list[str], here: Path) -> int:
    """A fork that does what ``ovbench`` does with these arguments; returns its number."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        sink = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(sink, stream)
        with stood_in(here), mock.patch.object(sys, "argv", ["ovbench", *arguments]):
            from ovbench.cli import main

            main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        os._exit(code)


def wait(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


@contextmanager
def stood_in(here: Path) -> Iterator[None]:
    """A method that can be tuned, a painter for Stable Diffusion, and an archive in the root."""
    from ovbench.datasets.fetching import archives, prepare
    from ovbench.harness.registry.names import METHODS
    from ovbench.models.diffusion import model as diffusion

    site = here / "site"
    about = site / "peak_method-0.1.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: peak-method\nVersion: 0.1\n")
    (about / "entry_points.txt").write_text("[ovbench.methods]\npeak = peak_method:Peak\n")
    sys.path.insert(0, str(site))
    METHODS.__dict__.pop("entries", None)  # an earlier test may have looked for plugins
    os.environ["OVBENCH_CACHE"] = str(here / "cache")
    from recipes import Painter

    digest = hashlib.md5((here / "archive.tar").read_bytes()).hexdigest()
    archive = replace(archives.VOC2012, url="http://nowhere/archive.tar", digest=f"md5:{digest}")
    with (
        mock.patch.object(prepare, "CATALOGUE", {"voc": {None: (archive,)}}),
        mock.patch.object(diffusion, "load_diffusion", return_value=Painter()),
    ):
        yield


def main() -> None:
    """Storm, and say how often."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, met, starts in storm(asked.kills, asked.seed, Path(folder)):
            print(
                f"{name}: killed {met} times at work, {starts} starts, the same bytes", flush=True
            )


if __name__ == "__main__":
    main()
