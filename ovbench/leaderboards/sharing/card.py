"""Model cards as the Hugging Face hub reads them, their metadata by its own package.

The results are a ``model-index``: https://github.com/huggingface/hub-docs/blob/main/modelcard.md.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import indent

from huggingface_hub import EvalResult, ModelCardData

from ovbench.errors import UsageError
from ovbench.harness.files.atomic import ready_folder
from ovbench.harness.files.below import below, file_name
from ovbench.harness.files.json_files import digest_of
from ovbench.harness.files.regular import regular
from ovbench.leaderboards.formats.markdown import escaped
from ovbench.leaderboards.formats.publish import publish
from ovbench.leaderboards.formats.update import write_document
from ovbench.leaderboards.tables.labels import labels
from ovbench.leaderboards.tables.marks import marks
from ovbench.leaderboards.tables.table import Conditions, Result
from ovbench.text import visible

_MARK = "<!-- written by ovbench export -->"
# By the name in a result: the type that the hub's `mean_iou` metric gives it, and its heading.
_METRICS = {
    "miou": ("mean_iou", "mIoU (%)"),
    "pixel_accuracy": ("overall_accuracy", "pixel accuracy (%)"),
    "mean_accuracy": ("mean_accuracy", "mean accuracy (%)"),
    "fwiou": ("fwiou", "frequency-weighted IoU (%)"),
    "boundary_iou": ("boundary_iou", "boundary IoU (%)"),
}


def write_cards(results: Sequence[Result], folder: Path) -> list[Path]:
    """Write a card for each method with its settings, into a folder of its own.

    Nothing is uploaded.

    Returns:
        The files, ``<folder>/<name>/README.md``.

    Raises:
        UsageError: a file that something else wrote is in the way.
    """
    written = []
    for name, group in sorted(_systems(results).items()):
        path = below(folder, f"{file_name(name)}-{digest_of(name)[:8]}/README.md")
        _check_ours(path)
        ready_folder(path)
        write_document(path, card(name, group))
        written.append(path)
    return written


def card(name: str, results: Sequence[Result]) -> str:
    """The card of one method under one choice of settings; the same results give the same text."""
    ordered = sorted(results, key=lambda one: (Conditions.of(one).benchmark, one["run"]["id"]))
    data = ModelCardData(
        model_name=visible(name),
        pipeline_tag="image-segmentation",
        tags=["open-vocabulary-segmentation", "semantic-segmentation", "ovbench"],
        eval_results=list(_evaluations(ordered)),
    )
    parts = [
        f"---\n{data.to_yaml()}\n---",
        _MARK,
        f"# {escaped(name)}",
        "Measured with ovbench. Percentages are 0-100; an interval is at 95 %.",
        publish(ordered, "markdown").strip(),
        *_settings(ordered),
        *_weights(ordered),
    ]
    return "\n\n".join(parts) + "\n"


def _systems(results: Sequence[Result]) -> dict[str, list[Result]]:
    """The results of each row of a leaderboard; miniatures are models of their own."""
    names = labels(results)
    systems: dict[str, dict[str, Result]] = defaultdict(dict)
    for one in results:
        run = one["run"]["id"]
        toy = " with toy weights" if "toy weights" in marks(one) else ""
        systems[names[run] + toy][run] = one  # a run given twice counts once
    return {name: list(group.values()) for name, group in systems.items()}


def _evaluations(results: Sequence[Result]) -> Iterator[EvalResult]:
    conditions = [_conditions(one) for one in results]
    alike = Counter(conditions)
    for words, one in zip(conditions, results, strict=True):
        run, metrics = one["run"], one["metrics"]
        # Results of one configuration are one entry there, whatever else tells them apart.
        config = words if alike[words] == 1 else f"{words}, run {run['id']}"
        told = {
            "run": run["id"],
            "num_images": run["num_images"],
            "names_sha256": one["vocabulary"]["sha256"],
            "images_sha256": run["ids_sha256"],
            **({"marks": [visible(mark) for mark in found]} if (found := marks(one)) else {}),
        }
        for metric, (kind, heading) in _METRICS.items():
            if (value := metrics.get(metric)) is not None:
                yield EvalResult(
                    task_type="image-segmentation",
                    task_name="Open-vocabulary semantic segmentation",
                    dataset_type=visible(run["dataset"]),
                    dataset_name=visible(Conditions.of(one).benchmark),
                    dataset_config=config,
                    dataset_split=visible(run["split"]),
                    dataset_args=told,
                    metric_type=kind,
                    metric_name=heading,
                    metric_value=value,
                    metric_args={"ci95": metrics["miou_ci95"]} if metric == "miou" else None,
                )


def _conditions(result: Result) -> str:
    run = result["run"]
    words = Conditions.of(result).words(run["num_images"])
    seed = "" if run.get("seed") is None else f", seed {run['seed']}"
    return visible(f"{words}, {run['precision']}{seed}")


def _settings(results: Sequence[Result]) -> Iterator[str]:
    """Every setting's value; those of a method tuned per benchmark, by benchmark."""
    by_values: dict[str, list[str]] = defaultdict(list)
    for one in results:
        by_values[json.dumps(one["config"], indent=2)].append(Conditions.of(one).benchmark)
    yield "## Settings"
    for values, benchmarks in by_values.items():
        if len(by_values) > 1:
            yield f"On {escaped('; '.join(dict.fromkeys(benchmarks)))}:"
        yield indent(values, "    ")


def _weights(results: Sequence[Result]) -> Iterator[str]:
    lines = {
        f"- {escaped(str(one['role']))}: {escaped(str(one['name']))}"
        + "".join(f", {word} {escaped(str(one[word]))}" for word in ("revision", "sha256")
                  if one.get(word))
        for result in results
        for one in result["checkpoints"]
    }  # fmt: skip
    if lines:
        yield "## Weights"
        yield "\n".join(sorted(lines))


def _check_ours(path: Path) -> None:
    if not os.path.lexists(path):
        return
    try:
        ours = _MARK.encode() in regular(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    if not ours:
        raise UsageError(f"{path}: not written by ovbench; give another --output")
