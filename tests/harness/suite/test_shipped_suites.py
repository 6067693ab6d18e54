"""The suites that come with the package ask for what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovbench.errors import UsageError
from ovbench.harness.registry.glance import card_of, needs_exemplars
from ovbench.harness.suite.missing import missing_weights
from ovbench.harness.suite.prospects import Prospects
from ovbench.harness.suite.shelf import shipped, suite_path
from ovbench.harness.suite.suite_file import read_suite


def test_they_are_found_by_name() -> None:
    assert shipped() == ["demo", "image-prompted", "seed-papers", "training-free-2026"]
    with pytest.raises(UsageError, match="did you mean 'demo'"):
        suite_path("dem")


@pytest.mark.parametrize("name", shipped())
def test_every_run_can_be_asked_for(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without data every benchmark says that it needs some, and no method, preset or setting is
    refused; what is not published is left out, and nothing else is."""
    monkeypatch.delenv("OVBENCH_DATA", raising=False)
    suite = read_suite(suite_path(name))
    assert suite.about
    look = Prospects(tmp_path, None)
    found = [look.of(run) for run in suite.runs]
    if name == "demo":
        assert {one.state for one in found} == {"to do"}
        assert missing_weights(found) == []
    else:
        assert {one.state for one in found} <= {"not ready", "left out"}
        assert all("needs --root" in one.why for one in found if one.state == "not ready")
        measured = {one.run.method for one in found if one.weights}
        assert measured == {run.method for run in suite.runs}


def test_kinds_are_what_their_suites_say() -> None:
    for run in read_suite(suite_path("training-free-2026")).runs:
        assert (card := card_of(run.method)) is not None
        assert card.kind == "training-free"
    for run in read_suite(suite_path("image-prompted")).runs:
        assert needs_exemplars(run.method)
