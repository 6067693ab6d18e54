"""The builder of published rows."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from ovbench.adapters.parts.published import EIGHT, eight
from ovbench.datasets.names import available_sets

NONE: dict[str, Any] = dict.fromkeys(EIGHT)


def test_every_benchmark_has_to_be_named() -> None:
    """One that is forgotten would be one that the source does not have."""
    rows = {**NONE, "voc21": {}}
    for name in EIGHT:
        left = {key: value for key, value in rows.items() if key != name}
        with pytest.raises(TypeError, match=name):
            eight(names="sclip", source="here", **left)
    assert set(EIGHT) <= set(inspect.signature(eight).parameters)


def test_a_benchmark_changes_what_is_common() -> None:
    common = {"logit_scale": 40, "short_side": 336}
    rows = {**NONE, "voc21": {"logit_scale": 65}, "cityscapes": {}}

    voc, city = eight(names="sclip", source="here", common=common, **rows)

    assert (voc.dataset, voc.background, voc.settings) == (
        *("voc", "class"),
        {"logit_scale": 65, "short_side": 336},
    )
    assert (city.benchmark, city.settings) == ("cityscapes", common)
    assert (voc.benchmark, voc.names, voc.source) == ("voc (background class)", "sclip", "here")


def test_names_may_differ_by_benchmark() -> None:
    rows = {**NONE, "voc21": {}, "ade20k": {}}
    voc, ade = eight(names={"voc21": "ovdiff", "ade20k": "sclip"}, source="here", **rows)
    assert (voc.names, ade.names) == ("ovdiff", "sclip")

    with pytest.raises(KeyError, match="ade20k"):
        eight(names={"voc21": "ovdiff"}, source="here", **rows)


def test_the_eight_are_registered_with_names() -> None:
    for dataset, _ in EIGHT.values():
        assert "sclip" in available_sets(dataset)
