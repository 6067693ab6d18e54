"""A few images of what no finished run tells of, so that a suite can be estimated."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from ovbench.harness.suite.estimates import Experience, Took, like
from ovbench.harness.suite.executors import Ended, Executor, Job
from ovbench.harness.suite.measuring import Errand
from ovbench.harness.suite.missing import missing_weights
from ovbench.harness.suite.prospects import Prospect


def untold(experience: Experience) -> list[Prospect]:
    """A run of each kind of which nothing tells, the one of the fewest images; none whose weights
    are missing.
    """
    missing = {one.name for one in missing_weights(experience.prospects)}
    found: dict[object, Prospect] = {}
    for one in experience.prospects:
        if one.due and experience.of(one).seconds is None and not missing & {*one.weights}:
            other = found.setdefault(like(one.run), one)
            if (one.images or 0) < (other.images or 0):
                found[like(one.run)] = one
    return list(found.values())


def try_out(
    experience: Experience, images: int, executor: Executor, errand: Errand
) -> Generator[Ended]:
    """Measure a few images of each, in folders that are gone afterwards; the ledger keeps the rest.

    Raises:
        OvbenchError: the ledger cannot be written.
    """
    with TemporaryDirectory(prefix="ovbench-") as folder:
        jobs = [_job(one, images, Path(folder), errand) for one in untold(experience)]
        with closing(executor.execute(jobs, _nobody_watches)) as ends:
            for ended in ends:
                took = Took.of(ended.job.directory, ended.seconds)
                if ended.failure is None and took is not None:
                    experience.ledger.tried[ended.job.name] = took.content()
                    experience.ledger.write()
                yield ended


def _job(prospect: Prospect, images: int, folder: Path, errand: Errand) -> Job:
    run = prospect.run
    few = str(min(images, prospect.images or images))
    short = replace(run, options={**run.options, "limit": few})
    words = short.arguments(folder, errand.root, errand.device)
    return Job(run.name, words, folder / short.name, folder / "logs" / f"{run.name}.log")


def _nobody_watches(jobs: Sequence[Job]) -> None:
    pass
