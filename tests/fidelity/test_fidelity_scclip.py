"""SC-CLIP and SFP against what the released functions computed from random weights.

Square windows alone: both released codes lose their outliers' places on others.
"""

from __future__ import annotations

import pytest
from oracles import built, picture, require_close, rows, vectors

from ovbench.adapters.dense_clip.scclip import SCCLIP
from ovbench.adapters.dense_clip.sfp import SFP

SIGNS = {"dense_som": "attention", "dense_lof": "density"}


@pytest.mark.parametrize("key", ["small.dense", "square.dense"])
def test_scclip(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shape, _ = key.split(".")
    found = built(monkeypatch, SCCLIP).features(picture(shape))
    require_close(rows(found), vectors("sc_clip")[key])


@pytest.mark.parametrize("key", sorted(vectors("sfp")))
def test_sfp(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shape, sign = key.split(".")
    found = built(monkeypatch, SFP, outliers=SIGNS[sign]).features(picture(shape))
    require_close(rows(found), vectors("sfp")[key])
