"""``result.json``: everything a table, a report or a gate needs, computed from records.

Percentages are 0-100, times are seconds, memory is bytes; an undefined number is null.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ovbench.harness.contract.version import LABEL_FILES
from ovbench.harness.files.features import regions_note
from ovbench.harness.files.json_files import sealed
from ovbench.harness.metrics import scores as metrics
from ovbench.harness.metrics.definitions import definitions
from ovbench.harness.metrics.interval import miou_interval, too_few
from ovbench.harness.metrics.resized import miou_at_sides
from ovbench.harness.results.readings import shift_warnings
from ovbench.harness.results.records import Cost, Session
from ovbench.harness.results.run_records import RunRecords
from ovbench.harness.results.store import SCHEMA_VERSION, identity_digest


def summarise(identity: Mapping[str, Any], records: RunRecords) -> dict[str, Any]:
    """Compute a result from a run's identity and its records.

    Args:
        identity: as the runner wrote it to ``run.json``.
        records: of the whole run; images are taken in order of their ids, so that the
            result does not depend on which process recorded what.

    Returns:
        What ``result.json`` holds, sealed (:mod:`ovbench.harness.files.json_files`).
    """
    rows = records.rows(sorted(records.images))
    vocabulary, dataset = identity["vocabulary"], identity["dataset"]
    per_image = records.tally.areas(rows)
    costs = [records.costs[row] for row in rows]
    sessions = records.sessions or [_UNKNOWN]
    last = sessions[-1]
    asked = identity["method"]["version"] != LABEL_FILES  # else only PNGs were read
    quality = _quality(records, rows, per_image, vocabulary["names"], dataset)
    content = {
        "schema_version": SCHEMA_VERSION,
        "run": {
            "id": identity_digest(identity)[:12],
            "method": identity["method"]["name"],
            "method_version": identity["method"]["version"],
            "preset": identity["method"]["preset"],
            "changes": identity["method"]["changes"],
            "dataset": dataset["name"],
            "split": dataset["split"],
            "variant": dataset["variant"],
            "subset": dataset["subset"],
            "background": dataset["background"],
            "classes": identity["classes"],
            "checkpoints": identity["checkpoint_flavour"],
            "num_images": len(rows),
            "ids_sha256": dataset["ids_sha256"],
            "limit": identity["limit"],
            "complete": len(rows) == dataset["num_images"],
            "bad_images": [{"image": b.image, "reason": b.reason} for b in records.bad.values()],
            "notes": [*last.notes, *regions_note(cost.stages_s for cost in costs)],
            "warnings": [
                *identity["warnings"],
                *shift_warnings(records.tally.confusion),
                *_environment_warnings(records.sessions),
                *_memory_warnings(records.sessions),
                *_absent_classes(quality["per_class"]),
                *_interval_warnings(per_image, dataset),
            ],
            "protocol_version": identity["protocol_version"],
            "seed": identity["seed"],
            "device": last.device,
            "precision": identity["precision"],
            "batch_size": last.batch_size or max((c.batch for c in costs), default=1),
            "processes": last.world_size or None,
            "started": sessions[0].started,
            "command": last.command,
        },
        "config": identity["settings"],
        "vocabulary": vocabulary,
        "checkpoints": identity["checkpoints"],
        "filter": identity.get("filter"),
        "prompts": identity.get("prompts"),
        "tuning": identity.get("tuning"),
        "published": identity.get("published"),
        "trained": identity.get("trained"),
        "code": identity.get("code"),
        "files": identity.get("files"),
        "environment": last.environment,
        **quality,
        "profile": _profile(
            costs if asked else [],
            sessions if asked else [_UNKNOWN],
            len(vocabulary.get("queries") or vocabulary["names"]),
        ),
    }
    return sealed(content)


# Of a run whose session headers are gone, on which no count depends, or in which no method ran.
_UNKNOWN = Session(
    started="unknown",
    command="",
    rank=0,
    world_size=0,
    batch_size=0,
    device="unknown",
    prepare_s=math.nan,
    prepare_stages_s={},
    environment={"packages": {}},
)


def _quality(
    records: RunRecords,
    rows: Sequence[int],
    per_image: metrics.Areas,
    names: Sequence[str],
    dataset: Mapping[str, Any],
) -> dict[str, Any]:
    total, edges = per_image.total, records.tally.boundary.iou
    scored = list(dataset["scored"] or range(len(names)))
    background = dataset["background"] == "class" and 0 in scored
    scores = metrics.scores(total.take(scored), background=background)
    named = definitions(
        per_image,
        records.tally.void,
        scored=dataset["scored"],
        background=dataset["background"] == "class",
        prompted=dataset["prompted"],
    )
    if dataset["prompted"] and len(records.resized) == len(rows):  # older versions have none
        asked = [records.asked[row] for row in rows]
        named |= miou_at_sides(asked, [records.resized[row] for row in rows])
    iou, accuracy = total.iou, total.accuracy
    return {
        "metrics": {
            "miou": number(scores.miou),
            "miou_ci95": [number(bound) for bound in miou_interval(per_image.take(scored))],
            "pixel_accuracy": number(scores.pixel_accuracy),
            "mean_accuracy": number(scores.mean_accuracy),
            "fwiou": number(scores.fwiou),
            "boundary_iou": number(_nanmean(edges[scored])),
            "definitions": {name: number(value) for name, value in named.items()},
        },
        "per_class": [
            {
                "index": index,
                "name": name,
                "iou": number(iou[index]),
                "accuracy": number(accuracy[index]),
                "boundary_iou": number(edges[index]),
                "gt_pixels": int(total.gt[index]),
                "pred_pixels": int(total.pred[index]),
                "scored": index in scored,
            }
            for index, name in enumerate(names)
        ],
    }


def _profile(costs: Sequence[Cost], sessions: Sequence[Session], queries: int) -> dict[str, Any]:
    # A run shorter than the warm-up has nothing else to show; it says so.
    measured = [c for c in costs if not c.warmup] or list(costs)
    compute = np.array([c.compute_s for c in measured])
    first = max(sessions, key=lambda s: s.prepare_s)
    mean = float(compute.mean()) if len(compute) else math.nan
    return {
        # The slowest preparation: later ones may have found its products in a cache.
        "prepare_s": number(first.prepare_s),
        "prepare_stages_s": dict(first.prepare_stages_s),
        "per_image_s": {
            "mean": number(mean),
            "p50": percentile(compute, 50),
            "p95": percentile(compute, 95),
        },
        "images_per_s": number(1 / mean if mean > 0 else math.nan),
        "queries": queries,
        "per_query_s": number(mean / queries),
        "wait_s": _mean(c.wait_s for c in measured),
        "evaluate_s": _mean(c.evaluate_s for c in measured),
        "stages": stage_shares([c.stages_s for c in measured], mean),
        "parameters": sessions[-1].parameters,
        "images_measured": len(measured),
        "warmup_excluded": len(measured) < len(costs),
        "peak_rss_bytes": _peak(c.rss for c in costs),
        "peak_gpu_bytes": _peak(c.gpu_allocated for c in costs),
        "peak_gpu_reserved_bytes": _peak(c.gpu_reserved for c in costs),
    }


def stage_shares(
    measured: Sequence[Mapping[str, float]], mean_total: float
) -> dict[str, dict[str, float | None]]:
    """Mean seconds of every stage and its share of ``mean_total``, the longest first.

    Args:
        measured: seconds per stage, of every measurement; at least one.
        mean_total: mean seconds of a whole measurement.
    """
    names = sorted({name for stages_s in measured for name in stages_s})
    means = {name: sum(s.get(name, 0.0) for s in measured) / len(measured) for name in names}
    ordered = sorted(means, key=lambda name: -means[name])
    return {
        name: {"mean_s": number(means[name]), "share": number(means[name] / mean_total)}
        for name in ordered
    }


def _absent_classes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """That classes are scored which no image shows: a mean says nothing of them."""
    scored = [row for row in rows if row["scored"]]
    absent = [row["name"] for row in scored if not row["gt_pixels"]]
    if not absent:
        return []
    more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
    what = f"{len(absent)} of {len(scored)} scored classes have no pixel in the ground truth"
    return [f"{what}: {', '.join(absent[:5])}{more}"]


def _interval_warnings(per_image: metrics.Areas, dataset: Mapping[str, Any]) -> list[str]:
    scored = dataset["scored"]
    warning = too_few(per_image if scored is None else per_image.take(scored))
    return [] if warning is None else [warning]


def _environment_warnings(sessions: Sequence[Session]) -> list[str]:
    traits = ("packages", "git_commit", "git_dirty")
    kinds = {(s.device, *(str(s.environment.get(trait)) for trait in traits)) for s in sessions}
    if not sessions:
        return ["what it was measured with is not known: the headers of its sessions are gone"]
    if len(kinds) == 1:
        return []
    return [f"measured in {len(kinds)} environments: devices, package versions or commits differ"]


def _memory_warnings(sessions: Sequence[Session]) -> list[str]:
    """That batches were not what was asked for: the time of an image depends on it."""
    fitting = [session for session in sessions if session.fitting]
    if not fitting:
        return []
    least = min(fitting, key=lambda session: session.fitting or 0)
    return [
        f"memory did not suffice for {least.batch_size} images at once: later ones were given "
        f"{least.fitting} at a time"
    ]


def number(value: float) -> float | None:
    """A float as JSON has it: not-a-number becomes null."""
    return None if math.isnan(value) else float(value)


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None


def percentile(values: npt.NDArray[np.float64], q: float) -> float | None:
    """A percentile, 0-100, between the values; None where there are none."""
    return float(np.percentile(values, q)) if len(values) else None


def _peak(values: Iterable[int | None]) -> int | None:
    return max((v for v in values if v is not None), default=None)


def _nanmean(values: npt.NDArray[np.float64]) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else math.nan
