"""The options of a suite that goes to a Slurm cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ovbench.errors import UsageError

if TYPE_CHECKING:
    from ovbench.harness.suite.ledger import Ledger
    from ovbench.harness.suite.slurm import Slurm

_OWN = {
    "time": "--time-limit",
    "nodes": "--nodes",
    "gpus-per-node": "--gpus-per-node",
    "gpus": "--gpus-per-node",
    "array": "--jobs",
}
# What the jobs of a suite are told by: with others they would not go on, or not be found.
_KEPT = ("signal", "output", "error", "open-mode", "job-name", "ntasks-per-node", "ntasks")


def refuse_slurm_options(given: Mapping[str, Any]) -> None:
    """Refuse what a suite on this machine has no use for.

    Raises:
        UsageError: names the first option.
    """
    for option, value in given.items():
        if value is not None:
            raise UsageError(f"{option} goes with --executor slurm")


def on_slurm(
    ledger: Ledger,
    device: str,
    jobs: int | None,
    given: Mapping[str, Any],
    tell: Callable[[str], None],
) -> Slurm:
    """The executor that is asked for.

    Args:
        given: the options by their names, None where they are not given.

    Raises:
        UsageError: an option is wrong, or there is no Slurm here.
    """
    from ovbench.harness.suite.slurm import Share, Slurm, minutes_of, refuse_without_slurm

    gpus = given["--gpus-per-node"]
    share = Share(
        minutes_of(given["--time-limit"] or "4:00:00"),
        given["--nodes"] or 1,
        gpus if gpus is not None else int(device != "cpu"),
        jobs,
        _sbatch_options(given["--sbatch"] or ()),
    )
    refuse_without_slurm()
    return Slurm(ledger, share, tell, wait=not given["--detach"])


def _sbatch_options(words: Sequence[str]) -> dict[str, str]:
    found = {}
    for word in words:
        name, _, value = word.partition("=")
        name = name.strip().removeprefix("--")
        if not name.replace("-", "").isalnum() or not value.isprintable():
            raise UsageError(f"--sbatch {word!r}: NAME=VALUE, as in --sbatch partition=long")
        if name in _OWN:
            raise UsageError(f"--sbatch {word!r}: use {_OWN[name]}")
        if name in _KEPT:
            raise UsageError(f"--sbatch {word!r}: ovbench has its own")
        found[name] = value
    return found
