"""Results in the formats of experiment trackers, through their own packages."""

from __future__ import annotations

import importlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import indent
from typing import Any

from ovbench.errors import UsageError
from ovbench.harness.files.atomic import ready_folder
from ovbench.harness.results.store import default_directory
from ovbench.leaderboards.tables.marks import marks
from ovbench.text import visible

Result = Mapping[str, Any]


def to_tensorboard(result: Result, logdir: Path) -> Path:
    """Write a result's scalars, its conditions as hyperparameters and its settings as text.

    Returns:
        The folder below ``logdir`` that holds the event files.

    Raises:
        UsageError: tensorboard is not installed, or the folder is there already.
    """
    run = result["run"]
    folder = logdir / default_directory(run["method"], run["dataset"], run["id"]).name
    if os.path.exists(folder):  # False, too, for a name that no folder can have
        raise UsageError(f"{folder}: was exported before; delete it to export the run anew")
    writer_class = _package("torch.utils.tensorboard", "tensorboard").SummaryWriter
    ready_folder(folder)
    with writer_class(str(folder)) as writer:
        found = scalars(result)
        for name, value in found.items():
            writer.add_scalar(name, value, 0)
        settings = json.dumps(result["config"], indent=2, ensure_ascii=False)
        writer.add_text("settings", indent(settings, "    "), 0)  # Markdown's, as code
        # The table of hyperparameters shows these; "." keeps it in the folder of the scalars.
        shown = {name: found[name] for name in ("metrics/miou",) if name in found}
        writer.add_hparams(conditions(result), shown, run_name=".", global_step=0)
    return folder


def to_wandb(result: Result, project: str) -> str:
    """Send a result to Weights & Biases as its user set it up; WANDB_MODE=offline writes a folder.

    The run has the result's id there.

    Returns:
        The run's folder on this machine.

    Raises:
        UsageError: wandb is not installed, or refuses, as where nobody is logged in.
    """
    wandb = _package("wandb", "wandb")
    try:
        with wandb.init(
            project=project,
            id=result["run"]["id"],
            name=run_name(result),
            config={**conditions(result), "settings": dict(result["config"])},
        ) as run:
            run.summary.update(scalars(result))
            columns = ["name", "iou", "accuracy", "boundary_iou"]
            rows = [[one[column] for column in columns] for one in result["per_class"]]
            run.log({"per_class": wandb.Table(columns=columns, data=rows)})
            return str(run.dir)
    except wandb.Error as error:
        raise UsageError(f"wandb: {str(error).splitlines()[0]}") from None


def run_name(result: Result) -> str:
    """As the run directory is named by default; also a folder's name, whatever it holds."""
    run = result["run"]
    names = (run["method"], run["dataset"], run["id"])
    return "-".join(re.sub(r"[^A-Za-z0-9_.+-]", "_", name)[:60] for name in names)


def scalars(result: Result) -> dict[str, float]:
    """Every number of metrics, classes and profile by its path; undefined ones are left out.

    Classes whose names a tracker may take for one another have their label behind the name.
    """
    classes = {name: one["iou"] for name, one in _named(result["per_class"])}
    numbers = {
        "metrics": result["metrics"],
        "per_class_iou": classes,
        "profile": result["profile"],
    }
    return dict(_numbers(numbers, ""))


def conditions(result: Result) -> dict[str, Any]:
    """What tells runs apart, one plain value each; lists become JSON."""
    run = result["run"]
    names = ("method", "preset", "dataset", "split", "variant", "subset", "background", "classes",
             "checkpoints", "num_images", "seed", "device", "precision", "batch_size")  # fmt: skip
    values = {name: run[name] for name in names} | {"names": result["vocabulary"]["source"]}
    values |= {f"settings/{name}": value for name, value in result["config"].items()}
    values |= {"marks": found} if (found := marks(result)) else {}
    return {
        visible(name): value if isinstance(value, bool | int | float) else _words(value)
        for name, value in values.items()
        if value is not None
    }


def _named(classes: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Classes by names that stay apart though a tracker replaces characters in them."""
    alike = Counter(_plain(one["name"]) for one in classes)
    for one in classes:
        alone = alike[_plain(one["name"])] == 1
        yield visible(one["name"] if alone else f"{one['name']} (label {one['index']})"), one


def _words(value: Any) -> str:
    return visible(value if isinstance(value, str) else json.dumps(value))


def _plain(name: str) -> str:
    return re.sub(r"\W", "_", name).casefold()


def _numbers(content: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{name}", value


def _package(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UsageError(f"{package} is not installed: pip install {package}") from None
