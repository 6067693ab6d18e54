from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovbench.text import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("one\ntwo\r\tthree", r"one\ntwo\r\tthree"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("x\u2028y\x9by\x7f", r"x\u2028y\x9by\x7f"),
        ("half \ud83d", r"half \ud83d"),
        ("caf\udce9.jpg", r"caf\xe9.jpg"),
        ("Katze, 猫, قطة, café × 2", "Katze, 猫, قطة, café × 2"),
        ("cat [/indoor] :cat:", "cat [/indoor] :cat:"),
        ("a\u200db", "a\u200db"),
    ],
)
def test_what_acts_is_shown_and_the_rest_is_left(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_whatever_it_is(text: str) -> None:
    shown = visible(text)
    assert visible(shown) == shown
    assert len(shown.splitlines()) <= 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]", shown)
    shown.encode()
