"""Systems that are no methods: why, by whom it is said, and where their figures stand."""

from __future__ import annotations

import pytest

from ovbench.errors import UsageError
from ovbench.harness.registry.left_out import LEFT_OUT, LeftOut, left_out
from ovbench.harness.registry.names import METHODS
from ovbench.leaderboards.formats.reported_markdown import page_of
from ovbench.leaderboards.reported.published import figures, systems

NAMES = ["delvm", "zegformer", "simbaseline", "viewco", "pacl", "zeroseg", "vil_seg", "fossil"]


def test_these_are_left_out() -> None:
    assert [one.name for one in LEFT_OUT] == NAMES
    assert not {*NAMES} & {*METHODS.entries}


@pytest.mark.parametrize("one", LEFT_OUT, ids=lambda one: one.name)
def test_a_row_names_the_pages_on_which_its_figures_stand(one: LeftOut) -> None:
    pages = {page_of(figure) for figure in figures() if figure.method == one.title}
    assert sorted(pages) == list(one.reported)
    assert one.reason
    assert one.source
    if pages:
        known = systems()[one.title]
        assert f"{known.authors}, {known.venue}" == f"{one.paper} {one.year}"


@pytest.mark.parametrize("name", ["ViL-Seg", "vil_seg", "vilseg", "ViewCo", "SimBase"])
def test_a_name_is_known_however_it_is_written(name: str) -> None:
    found = left_out(name)
    assert found is not None
    with pytest.raises(UsageError, match=f"no method {name!r}: {found.title} .* is left out: "):
        METHODS.entry(name)
    with pytest.raises(UsageError, match="is left out"):
        METHODS.load(name)


def test_other_names_get_the_nearest_one() -> None:
    assert left_out("grupvit") is None
    assert left_out("") is None
    with pytest.raises(UsageError, match="did you mean 'groupvit'"):
        METHODS.entry("grupvit")
