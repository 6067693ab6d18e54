"""Options that several commands share."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ovbench.cli.shared import completion

if TYPE_CHECKING:
    from ovbench.harness.contract.datasets import DatasetInfo
    from ovbench.harness.contract.runtime import CheckpointFlavour


MethodName = Annotated[
    str,
    typer.Option(
        "--method", "-m", help="See `ovbench list methods`.", autocompletion=completion.methods
    ),
]
MethodArgument = Annotated[
    str,
    typer.Argument(
        metavar="METHOD", help="See `ovbench list methods`.", autocompletion=completion.methods
    ),
]
DatasetName = Annotated[str, typer.Option("--dataset", "-d", help="See `ovbench list datasets`.")]
DatasetArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="See `ovbench list datasets`.")
]
Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        metavar="DIR",
        envvar="OVBENCH_DATA",
        help="Folder in which the official archives were unpacked.",
    ),
]
Split = Annotated[str | None, typer.Option("--split", help="Default: val.")]
Background = Annotated[
    Literal["class", "ignore"] | None,
    typer.Option("--background", help="Score background as a class, or leave its pixels out."),
]
Names = Annotated[
    str | None,
    typer.Option(
        "--names", metavar="SET|FILE", help="Class-name set, or a file with one class per line."
    ),
]
Variant = Annotated[
    str | None,
    typer.Option("--variant", help="Which published construction of the labels, if several."),
]
Subset = Annotated[
    str | None,
    typer.Option(
        "--subset",
        help="Measure some classes alone: unseen5 asks for all names, unseen5-only for the five.",
    ),
]
Prompts = Annotated[
    str | None,
    typer.Option(
        "--prompts",
        help="Pictures that show the classes: a folder with a folder per class, or a split.",
        metavar="DIR|SPLIT",
    ),
]
Shots = Annotated[
    int | None,
    typer.Option("--shots", min=1, help="With --prompts SPLIT, pictures per class; default 1."),
]
Checkpoints = Annotated[
    Literal["auto", "toy", "real"],
    typer.Option("--checkpoints", help="auto: miniatures on rendered scenes, real ones elsewhere."),
]
Weights = Annotated[
    Literal["toy", "real"], typer.Option("--checkpoints", help="toy: the packaged miniatures.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="A method's setting as name=value; repeatable.", metavar="K=V"),
]
SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings", metavar="FILE", help="A file of settings, as `ovbench tune` writes it."
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        help="A named set of the method's settings; published: its paper's for the benchmark.",
        autocompletion=completion.presets,
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, ...")]
Precision = Annotated[
    Literal["fp32", "bf16", "fp16"], typer.Option("--precision", help="Of the models.")
]
BatchSize = Annotated[
    int, typer.Option("--batch-size", min=1, help="Images given to the method at once.")
]


def seed_in_range(value: int | None) -> int | None:
    """What checks ``--seed`` before anything is done."""
    from ovbench.harness.contract.runtime import checked_seed

    return value if value is None else checked_seed(value)


Seed = Annotated[
    int, typer.Option("--seed", help="Of everything that is drawn.", callback=seed_in_range)
]
OneSeed = Annotated[
    int | None,
    typer.Option("--seed", help="Of everything that is drawn; default 0.", callback=seed_in_range),
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N images.")]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="List unreadable images in the result and go on.")
]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Threads that read ahead.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="Run directory; default runs/<name>-<id>."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def flavour(choice: Literal["auto", "toy", "real"], info: DatasetInfo) -> CheckpointFlavour:
    """What ``--checkpoints auto`` means on a dataset."""
    from ovbench.harness.contract.runtime import flavour_on

    return flavour_on(choice, info.rendered)


def listed(text: str, option: str) -> list[str]:
    """Names between commas.

    Raises:
        UsageError: one is empty or stands there twice.
    """
    from ovbench.errors import UsageError

    names = [name.strip() for name in text.split(",")]
    if not all(names) or len(set(names)) < len(names):
        raise UsageError(f"{option} {text!r}: write names between commas, each once")
    return names


def command_line() -> str:
    """The command as typed, for the result."""
    return shlex.join(["ovbench", *sys.argv[1:]])
