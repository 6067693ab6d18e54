"""What must be true of a result that others are to believe without its records."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ovbench.harness.contract.version import PROTOCOL_VERSION
from ovbench.harness.files.json_files import is_sealed, leaf
from ovbench.harness.results.store import SCHEMA_VERSION, identity_digest
from ovbench.leaderboards.tables.marks import marks
from ovbench.leaderboards.tables.table import Conditions, Result

_TEXTS = ("run.id", "run.method", "run.dataset", "run.split", "run.background", "run.classes",
          "run.checkpoints", "run.ids_sha256", "run.device", "run.precision", "run.started",
          "vocabulary.source", "vocabulary.sha256")  # fmt: skip
_COUNTS = ("run.num_images", "run.seed", "run.protocol_version")
_OBJECTS = ("run.changes", "config", "environment.packages", "profile.stages", "identity.method",
            "identity.dataset", "identity.vocabulary", "identity.settings")  # fmt: skip
_LISTS = ("run.bad_images", "run.warnings", "vocabulary.names", "checkpoints", "per_class")
_PERCENTAGES = tuple(f"metrics.{name}" for name in ("miou", "pixel_accuracy", "mean_accuracy",
                                                    "fwiou", "boundary_iou"))  # fmt: skip
_AMOUNTS = tuple(f"profile.{name}" for name in ("per_image_s.mean", "per_image_s.p50",
                                                "per_image_s.p95", "images_per_s", "prepare_s",
                                                "peak_rss_bytes", "peak_gpu_bytes"))  # fmt: skip

# Where a result says what its run's identity says: its own place, that of the identity.
_SAID_TWICE = {
    "run.method": "method.name",
    "run.method_version": "method.version",
    "run.preset": "method.preset",
    "run.changes": "method.changes",
    **{f"run.{name}": f"dataset.{name}"
       for name in ("split", "variant", "subset", "background", "ids_sha256")},
    "run.dataset": "dataset.name",
    "run.checkpoints": "checkpoint_flavour",
    **{f"run.{name}": name for name in ("classes", "limit", "protocol_version", "seed",
                                        "precision")},
    "config": "settings",
    **{name: name for name in ("vocabulary", "checkpoints", "filter", "prompts", "tuning",
                               "published", "trained", "code", "files")},
}  # fmt: skip
_CLOSE = 1e-6  # of percentages that follow from others


def problems(result: Result) -> list[str]:
    """What is wrong with a result that has its run's identity beside it, each in one phrase.

    Args:
        result: any JSON object.

    Returns:
        Nothing where it is whole: of this schema, as it was written, of the run whose id it has,
        with the numbers that follow from one another.
    """
    found = result.get("schema_version")
    if found != SCHEMA_VERSION:
        return [f"schema_version is {found!r:.40}, this ovbench reads {SCHEMA_VERSION}"]
    if wrong := list(_misshapen(result)):
        return wrong
    try:
        digest = identity_digest(result["identity"])
        Conditions.of(result), marks(result)
        return [
            *([] if is_sealed(result) else ["not as it was written, its digest differs"]),
            *_another_run(result, digest),
            *_incomplete(result),
            *_inconsistent(result),
        ]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return [f"not as ovbench writes it ({type(error).__name__}: {error!s:.80})"]


def differing(a: Any, b: Any) -> bool:
    """Whether two JSON values say different things, numbers to within rounding."""
    if isinstance(a, float | int) and isinstance(b, float | int):
        return not math.isclose(a, b, rel_tol=0, abs_tol=_CLOSE)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() != b.keys() or any(differing(a[name], b[name]) for name in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) != len(b) or any(map(differing, a, b))
    return bool(a != b)


def _misshapen(result: Result) -> Iterator[str]:
    for names, kind, words in (
        (_TEXTS, str, "a text"),
        (_COUNTS, int, "a whole number"),
        (_OBJECTS, Mapping, "an object"),
        (_LISTS, list, "a list"),
    ):
        for name in names:
            value = leaf(result, name)
            if not isinstance(value, kind) or isinstance(value, bool):
                yield f"{name} is not {words}"
    for name in (*_PERCENTAGES, *_AMOUNTS):
        place, _, last = name.rpartition(".")
        if last not in (leaf(result, place) or {}):
            yield f"{name} is missing"
        elif not _is_amount(leaf(result, name), 100 if name in _PERCENTAGES else math.inf):
            yield f"{name} is neither null nor {'0-100' if name in _PERCENTAGES else '0 or more'}"


def _is_amount(value: Any, most: float) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        return False
    return value is None or (math.isfinite(value) and 0 <= value <= most)


def _another_run(result: Result, digest: str) -> Iterator[str]:
    if result["run"]["id"] != digest[:12]:
        yield f"run.id is {result['run']['id']!r:.40}, its identity's is {digest[:12]}"
    for here, there in _SAID_TWICE.items():
        if differing(leaf(result, here), leaf(result["identity"], there)):
            yield f"{here} is not what its identity says"


def _incomplete(result: Result) -> Iterator[str]:
    run, expected = result["run"], result["identity"]["dataset"]["num_images"]
    if run["limit"] is not None:
        yield f"only the first {run['limit']} images were asked for (--limit)"
    if not run["complete"] or run["num_images"] != expected or run["bad_images"]:
        yield f"{run['num_images']} of {expected} images were measured"
    if run["protocol_version"] != PROTOCOL_VERSION:
        yield f"counted as protocol version {run['protocol_version']} says, not {PROTOCOL_VERSION}"


def _inconsistent(result: Result) -> Iterator[str]:
    """Numbers that do not follow from the classes' pixels and recall."""
    classes = result["per_class"]
    if [row["name"] for row in classes] != result["vocabulary"]["names"]:
        yield "per_class are not the names of vocabulary"
    scored: list[float] = []
    for row in classes:
        true, answered = row["gt_pixels"], row["pred_pixels"]
        hit = round((row["accuracy"] or 0.0) * true / 100)
        union = true + answered - hit
        iou = 100 * hit / union if union else None
        if differing(iou, row["iou"]) or not 0 <= hit <= min(true, answered):
            yield f"the IoU of {row['name']!r:.60} does not follow from its pixels and accuracy"
        scored += [row["iou"]] if row["scored"] and row["iou"] is not None else []
    if differing(sum(scored) / len(scored) if scored else None, result["metrics"]["miou"]):
        yield "metrics.miou is not the mean over the scored classes"
