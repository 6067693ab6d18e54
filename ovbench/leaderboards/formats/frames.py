"""Runs as tidy frames of pandas, for a notebook: one row per run, per class, or per image.

Percentages are 0-100, times are seconds, memory is bytes. What is undefined is NaN.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ovbench.errors import UsageError
from ovbench.harness.contract.checks.typed import public
from ovbench.harness.files.json_files import leaf
from ovbench.leaderboards.tables.marks import marks
from ovbench.leaderboards.tables.measured import Measured
from ovbench.leaderboards.tables.table import Conditions, Result, read_result, result_files, variant

if TYPE_CHECKING:
    import pandas as pd

_RUN = ("method", "preset", "dataset", "variant", "subset", "split", "background", "classes",
        "checkpoints", "seed", "precision", "device", "batch_size", "num_images", "complete",
        "started")  # fmt: skip
_METRICS = ("pixel_accuracy", "mean_accuracy", "fwiou", "boundary_iou")
_PROFILE = {
    "s_per_image": "per_image_s.mean",
    "s_per_image_p50": "per_image_s.p50",
    "s_per_image_p95": "per_image_s.p95",
    "images_per_s": "images_per_s",
    "wait_s": "wait_s",
    "evaluate_s": "evaluate_s",
    "prepare_s": "prepare_s",
    "peak_gpu_bytes": "peak_gpu_bytes",
    "peak_rss_bytes": "peak_rss_bytes",
    "parameters": "parameters",
}
_CLASS = ("index", "iou", "accuracy", "boundary_iou", "gt_pixels", "pred_pixels", "scored")


@dataclass(frozen=True)
class Runs:
    """Finished runs, from :func:`load_runs`; each frame is made when it is first asked for.

    Args:
        files: their ``result.json``.
    """

    files: Sequence[Path]
    _results: Sequence[Result] = field(repr=False)

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row per run.

        ``run`` and ``path`` (its id, its directory) · ``system`` (the method with its preset and
        changed settings), ``benchmark`` (in words) · ``method``, ``preset``, ``dataset``,
        ``variant``, ``subset``, ``split``, ``background``, ``classes``, ``names``,
        ``checkpoints``, ``seed``, ``precision``, ``device``, ``batch_size``, ``num_images``,
        ``complete``, ``started`` (UTC) · ``miou`` with its 95 % interval ``miou_low`` and
        ``miou_high``, ``pixel_accuracy``, ``mean_accuracy``, ``fwiou``, ``boundary_iou``, and
        ``miou_<definition>`` for every other definition, in percent · ``s_per_image`` (mean) with
        ``_p50`` and ``_p95``, ``wait_s``, ``evaluate_s`` per image, ``prepare_s``, in seconds;
        ``images_per_s`` · ``peak_gpu_bytes``, ``peak_rss_bytes`` · ``parameters`` · ``marks``
        (what a reader must know before comparing it, between semicolons).
        """
        rows = [_run(path, one) for path, one in zip(self.files, self._results, strict=True)]
        frame = _frame(rows)
        return frame.assign(started=_pandas().to_datetime(frame["started"], utc=True))

    @cached_property
    def classes(self) -> pd.DataFrame:
        """One row per run and class.

        ``run``, ``system``, ``benchmark`` · ``index`` (the label), ``name`` · ``iou``,
        ``accuracy`` (recall), ``boundary_iou`` in percent · ``gt_pixels``, ``pred_pixels`` ·
        ``scored`` (it counts in mIoU).
        """
        return _frame(
            [
                {**_key(one), "name": row["name"], **{name: row[name] for name in _CLASS}}
                for one in self._results
                for row in one["per_class"]
            ]
        )

    @cached_property
    def images(self) -> pd.DataFrame:
        """One row per run and image, read from the records, which takes longer.

        ``run``, ``system``, ``benchmark`` · ``image`` · ``miou`` (over the scored classes that the
        image shows or was answered with), ``pixel_accuracy``, in percent · ``compute_s``,
        ``wait_s``, ``evaluate_s`` (seconds; those of a batch are shared evenly), ``batch``,
        ``warmup`` (its time is left out of the run's) · ``rss_bytes``, ``gpu_bytes`` (the
        process's peak so far).

        A run whose records are gone, or fewer than its result was made from, has as many rows as
        there are; one warning names all such runs.

        Raises:
            UsageError: a record is damaged.
        """
        rows: list[dict[str, Any]] = []
        short: list[str] = []
        for path, one in zip(self.files, self._results, strict=True):
            found, measured = list(_images(path.parent, one)), one["run"]["num_images"]
            rows += found
            if len(found) < measured:
                short.append(f"{path.parent} ({len(found)} of {measured})")
        if short:
            warnings.warn(f"records of images are gone: {', '.join(short)}", stacklevel=2)
        return _frame(rows)


@public
def load_runs(paths: Path | str | Sequence[Path | str]) -> Runs:
    """Read finished runs into frames of pandas, which ``pip install 'ovbench[notebook]'`` brings.

    Args:
        paths: run directories, folders of them, or files of results.

    Raises:
        UsageError: a path holds no result, one is damaged or of another version, or pandas is not
            installed.
    """
    given = [paths] if isinstance(paths, Path | str) else paths
    if not given or not all(isinstance(path, Path | str) for path in given):
        raise UsageError("load_runs takes a path or a list of them, one or more")
    _pandas()
    files = result_files(map(Path, given))
    return Runs(files, [read_result(file) for file in files])


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise UsageError(
            "load_runs needs pandas, which is not installed: `pip install 'ovbench[notebook]'`"
        ) from None
    return pandas


def _frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    return _pandas().DataFrame.from_records(rows)


def _key(result: Result) -> dict[str, Any]:
    """What every frame has, to join them by."""
    return {
        "run": result["run"]["id"],
        "system": variant(result),
        "benchmark": Conditions.of(result).benchmark,
    }


def _run(path: Path, result: Result) -> dict[str, Any]:
    metrics, run = result["metrics"], result["run"]
    low, high = metrics["miou_ci95"]
    others = {f"miou_{k}": v for k, v in metrics["definitions"].items() if k != "union"}
    return {
        **_key(result),
        "path": str(path.parent),
        **{name: run.get(name) for name in _RUN},
        "names": result["vocabulary"]["source"],
        "miou": _number(metrics["miou"]),
        "miou_low": _number(low),
        "miou_high": _number(high),
        **{name: _number(metrics.get(name)) for name in _METRICS},
        **{name: _number(value) for name, value in others.items()},
        **{name: _number(leaf(result["profile"], place)) for name, place in _PROFILE.items()},
        "marks": "; ".join(marks(result)),
    }


def _images(path: Path, result: Result) -> Iterator[dict[str, Any]]:
    measured = Measured.read(path)
    records, key = measured.records, _key(result)
    names = list(records.images)
    areas = measured.areas(names)
    with np.errstate(invalid="ignore"):
        shown = areas.union > 0
        miou = np.where(shown, areas.iou, 0.0).sum(axis=1) / shown.sum(axis=1)
        whole = records.tally.areas()
        right = 100 * whole.intersection.sum(axis=1) / whole.gt.sum(axis=1)
    for row, (name, cost) in enumerate(zip(names, records.costs, strict=True)):
        yield {
            **key,
            "image": name,
            "miou": float(miou[row]),
            "pixel_accuracy": float(right[row]),
            "compute_s": cost.compute_s,
            "wait_s": cost.wait_s,
            "evaluate_s": cost.evaluate_s,
            "batch": cost.batch,
            "warmup": cost.warmup,
            "rss_bytes": _number(cost.rss),
            "gpu_bytes": _number(cost.gpu_allocated),
        }


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)
