"""The rows of every method are of benchmarks, with settings and names that there are."""

from __future__ import annotations

from collections import Counter

import pytest

from ovbench.datasets.names import available_sets
from ovbench.harness.contract.settings import override
from ovbench.harness.registry.glance import preset_names
from ovbench.harness.registry.names import DATASETS, METHODS
from ovbench.harness.registry.presets import published_rows

HAVE_ROWS = [
    name
    for name, entry in METHODS.entries.items()
    if entry.package == "ovbench" and "published" in preset_names(name)
]
WITH_BACKGROUND = ("voc", "context", "cocoobject")


@pytest.mark.parametrize("name", HAVE_ROWS)
def test_rows_can_be_measured(name: str) -> None:
    method = METHODS.load(name)
    rows = published_rows(method)
    assert rows
    for row in rows:
        override(method.Settings, row.settings)
        assert DATASETS.entries[row.dataset].published
        rules = ("class", "ignore") if row.dataset in WITH_BACKGROUND else ("none",)
        assert row.background in rules, row.benchmark
        assert row.names is None or row.names in available_sets(row.dataset), row.benchmark
        assert row.source
    assert set(Counter(row.benchmark for row in rows).values()) == {1}
