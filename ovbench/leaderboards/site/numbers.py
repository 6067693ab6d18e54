"""The numbers of one run that a browser compares with another's, as a script that hands them in.

A page that is opened from a disk may load scripts and nothing else.
"""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import numpy as np
import numpy.typing as npt

from ovbench.harness.metrics.interval import miou_estimate
from ovbench.harness.metrics.scores import miou_by_image
from ovbench.leaderboards.gates.comparison import common_images
from ovbench.leaderboards.site.drawn import Drawn
from ovbench.leaderboards.site.entries import Entry
from ovbench.leaderboards.tables.measured import Measured
from ovbench.text import visible


def run_script(entry: Entry, measured: Measured | None) -> str:
    """Classes, and of every image what the paired jackknife needs, of one run.

    Args:
        measured: None where the run's records are gone; then there are the classes alone.
    """
    content: dict[str, Any] = {
        "key": entry.key,
        "classes": [
            [visible(row["name"]), row["iou"], row["gt_pixels"]]
            for row in entry.result["per_class"]
            if row["scored"]
        ],
    }
    if measured is not None:
        images = common_images([measured])
        areas = measured.areas(images)
        estimate = miou_estimate(areas)
        content |= {
            "value": _defined(estimate.value),
            # Without each image, as a difference: float32 holds it to 1e-7 of itself.
            "leftOut": _packed(estimate.left_out - estimate.value),
            "biases": _packed(estimate.biases),
            "mious": _packed(miou_by_image(areas)),
        }
    return _script("run", content)


def images_script(key: str, measured: Measured) -> str:
    """The ids of the images that runs share, in the order of their numbers."""
    names = [visible(name) for name in common_images([measured])]
    return _script("images", {"key": key, "names": names})


def pictures_script(entry: Entry, drawn: Drawn) -> str:
    """A run's pictures: of every image itself, its label, the prediction and its errors."""
    images = {}
    for name, sample in drawn.pictures.samples.items():
        answer = drawn.pictures.answers[0].get(name)
        if answer is not None and answer.prediction is not None and answer.errors is not None:
            shown = (sample.image, sample.label, answer.prediction, answer.errors)
            images[visible(name)] = [picture.uri for picture in shown]
    return _script("pictures", {"key": entry.key, "images": images})


def embedded(content: Any) -> str:
    """JSON that may stand within an element of a page."""
    words = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return words.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _script(what: str, content: Any) -> str:
    return f"given({json.dumps(what)}, {embedded(content)});\n"


def _packed(values: npt.NDArray[np.floating[Any]]) -> str:
    return b64encode(values.astype("<f4").tobytes()).decode()


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
