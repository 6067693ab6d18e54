"""Whole numbers that somebody wrote."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovbench.cli.measure.explain import _pixel
from ovbench.errors import UsageError
from ovbench.harness.contract.checks.whole import whole_number
from ovbench.harness.profile.sweep import _batch_size
from ovbench.harness.results.seeds import parse_seeds


@given(st.integers(0, 10**30))
def test_digits_are_read(number: int) -> None:
    assert whole_number(f"{number:031}") == number


@pytest.mark.parametrize("text", ["", "-1", "1.0", "1e3", " 1", "٣", "²", "9" * 5000])
def test_nothing_else_is(text: str) -> None:
    assert whole_number(text) is None


@pytest.mark.parametrize("text", ["٣", "9" * 5000])
def test_an_argument_of_thousands_of_digits_is_one_line(text: str) -> None:
    for refused in (
        lambda: parse_seeds(f"1,{text}"),
        lambda: _batch_size(text),
        lambda: _pixel(f"0,{text}", np.zeros((4, 4, 3), np.uint8)),
    ):
        with pytest.raises(UsageError) as found:
            refused()
        assert len(str(found.value)) < 200
