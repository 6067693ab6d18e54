from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovbench.errors import UsageError
from ovbench.harness.contract.settings import (
    describe,
    override,
    parse_assignments,
    resolved,
    setting,
)


@dataclass(frozen=True)
class Example:
    threshold: float = setting(0.15, "paper, table 2", "maps below this are background")
    layer: int = setting(8, "paper, table 2", "cross-attention layer")
    blur: bool = setting(True, "paper, section 3.3", "smooth the maps")
    rule: Literal["queries", "threshold"] = setting("queries", "our choice", "background rule")
    side: int | None = setting(None, "our choice", "short side, none keeps the image's")
    sizes: tuple[int, ...] = setting((448, 336), "paper", "window sizes")
    points: tuple[int, ...] | None = setting(None, "our choice", "points per side", most=256)
    share: float = setting(0.5, "our choice", "of all", least=-1, most=1)

    def __post_init__(self) -> None:
        if self.layer < 1:
            raise ValueError("layer must be at least 1")


def test_strings_are_parsed_by_type() -> None:
    parsed = override(
        Example,
        {
            "threshold": "0.2", "layer": "3", "blur": "false", "rule": "threshold",
            "side": "448", "sizes": "224, 0",
        },
    )  # fmt: skip
    assert parsed == Example(0.2, 3, False, "threshold", 448, (224, 0))


@pytest.mark.parametrize("word", ["none", "None", "null"])
def test_none_clears_an_optional_setting(word: str) -> None:
    assert override(Example, {"side": word}).side is None


def test_values_that_are_already_typed_stay() -> None:
    assert override(Example, {"sizes": (0, 5), "blur": False}) == Example(sizes=(0, 5), blur=False)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"treshold": "1"}, "did you mean 'threshold'"),
        ({"layer": "3.5"}, "layer='3.5': expected int"),
        ({"layer": 3.5}, "expected int"),
        ({"blur": "maybe"}, "expected bool"),
        ({"rule": "magic"}, "expected queries or threshold"),
        ({"side": "wide"}, "expected int or none"),
        ({"layer": "0"}, "layer must be at least 1"),
        ({"points": "3,257"}, "setting points=257: at most 256"),
        ({"share": "1.5"}, "setting share=1.5: at most 1"),
        ({"share": "-1.5"}, "setting share=-1.5: at least -1"),
        ({"points": [-257]}, "setting points=-257: at most 256"),
    ],
)
def test_what_does_not_parse_is_said_in_one_line(values: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        override(Example, values)
    assert "\n" not in str(caught.value)


def test_a_bound_itself_and_no_value_are_within_it() -> None:
    assert override(Example, {"points": "256,-256"}).points == (256, -256)
    assert override(Example, {"points": "none"}).points is None


def test_of_no_settings_there_is_none_to_suggest() -> None:
    @dataclass(frozen=True)
    class Nothing:
        """No settings."""

    with pytest.raises(UsageError, match=r"no setting 'x'; there are none$"):
        override(Nothing, {"x": "1"})


@given(
    st.floats(-3e38, 3e38), st.integers(1, 10**9), st.booleans(),
    st.lists(st.integers(-(2**62), 2**62)),
)  # fmt: skip
def test_resolved_settings_parse_back(t: float, layer: int, blur: bool, sizes: list[int]) -> None:
    settings = Example(t, layer, blur, sizes=tuple(sizes))
    assert override(Example, resolved(settings)) == settings
    as_text = {k: ",".join(map(str, v)) if isinstance(v, list) else str(v)
               for k, v in resolved(settings).items()}  # fmt: skip
    assert override(Example, as_text) == settings


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e400", "1e39", float("nan"), 10.0**300])
def test_a_setting_is_a_number_that_tensors_hold(text: str | float) -> None:
    for values in ({"threshold": text}, {"layer": text}, {"sizes": [text]}):
        with pytest.raises(UsageError, match=r"expected (finite float|int)") as caught:
            override(Example, values)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="expected int"):
        override(Example, {"layer": 1e30})
    with pytest.raises(UsageError, match="expected int"):
        override(Example, {"layer": "9" * 30})
    assert override(Example, {"threshold": "1e30", "layer": 1e15}).layer == 10**15


def test_describe_names_every_source() -> None:
    described = {item.name: item for item in describe(Example)}
    assert described["threshold"].source == "paper, table 2"
    assert described["side"].type == "int or none"
    assert described["sizes"].type == "int,..."


def test_assignments() -> None:
    assert parse_assignments(["a=1", "b=x=y"]) == {"a": "1", "b": "x=y"}
    with pytest.raises(UsageError, match="name=value"):
        parse_assignments(["a"])
