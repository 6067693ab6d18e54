"""Which modules a kept array rests on."""

from __future__ import annotations

from functools import wraps
from pathlib import Path

import pytest

from ovbench.harness.files import code
from ovbench.harness.files.code import code_of
from ovbench.models.regions.store import Regions
from ovbench.models.sam.proposals import propose
from ovbench.refine.normalized_cut import cut_masks


@pytest.fixture
def afresh() -> None:
    """As in another process."""
    for kept in (code._digest, code._imported, code._text):
        kept.cache_clear()


@pytest.mark.usefixtures("afresh")
@pytest.mark.parametrize(
    ("changed", "counts"),
    [
        ("models/regions/maps.py", True),  # beside the one that builds
        ("models/sam/proposals.py", True),  # imported by one of these
        ("models/patches/positions.py", True),  # and by what they import
        ("models/precision.py", True),
        ("refine/normalized_cut.py", True),
        ("models/clip/trunk.py", False),
        ("models/weights/catalogue.py", False),
        ("harness/contract/progress.py", False),
    ],
)
def test_masks_rest_on_what_makes_them(
    changed: str, counts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, text = code_of(Regions.masks), code._text
    for kept in (code._digest, code._imported):
        kept.cache_clear()
    edited = code._ROOT / changed
    assert edited.is_file()
    monkeypatch.setattr(
        code, "_text", lambda path: text(path) + (b"# edited" if path == edited else b"")
    )
    assert (code_of(Regions.masks) != before) is counts


def test_a_decorated_function_counts_by_its_own_module() -> None:
    own = code_of(cut_masks)

    @wraps(cut_masks)
    def decorated() -> None: ...

    assert code_of(decorated) == own != ""
    # This one is decorated by PyTorch.
    assert Path(propose.__code__.co_filename).parent.name != "sam"
    assert code_of(propose) == code_of(propose.__wrapped__)
    assert code_of(propose, cut_masks) not in ("", own)


def test_what_is_no_function_of_a_file_has_no_code() -> None:
    assert code_of(len) == code_of(print) == ""
