"""Settings that are compared with probabilities, overlaps and shares refuse what none can be."""

from __future__ import annotations

import re
import typing
from dataclasses import fields

import pytest

from ovbench.errors import UsageError
from ovbench.harness.contract.settings import override
from ovbench.harness.registry.names import METHODS

SHARES = re.compile(
    r"probab|\bIoU\b|stability|\bshare of the|coverage|purity|presence|best score is"
)
"""In the help of what is compared with a number within 0..1."""
FACTORS = {"background_factor", "exponent", "beta", "rcs_scale", "mask_weight"}
"""Numbers that multiply such a one, or are its power."""
REGRESSED = {"pred_iou", "grid_pred_iou", "predicted_iou"}
"""IoU as a network predicts it, which may be higher than any is."""


def thresholds() -> list[tuple[str, str]]:
    found = []
    for method in METHODS.entries:
        settings = getattr(METHODS.load(method), "Settings", None)
        if settings is None:
            continue
        hints = typing.get_type_hints(settings)
        found += [
            (method, one.name)
            for one in fields(settings)
            if hints[one.name] in (float, float | None)
            and SHARES.search(one.metadata.get("help", ""))
            and one.name not in FACTORS | REGRESSED
        ]
    return found


def test_there_are_thresholds() -> None:
    found = thresholds()
    assert {("owlv2_sam", "box_above"), ("sam3", "confidence"), ("matcher", "nms")} <= {*found}


@pytest.mark.parametrize(("method", "name"), thresholds())
@pytest.mark.parametrize("value", ["-1", "2"])
def test_a_threshold_lies_where_what_it_is_compared_with_can(
    method: str, name: str, value: str
) -> None:
    settings = METHODS.load(method).Settings
    with pytest.raises(UsageError, match=rf"{name}"):
        override(settings, {name: value})
