"""CAT-Seg from a picture and names to scores against the released evaluation, all of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_catseg
from oracles import header, require_close, vectors

from ovbench.adapters.pixelwise import catseg as adapter
from ovbench.adapters.pixelwise.catseg import CATSegMethod, CATSegSettings
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.pixelwise.catseg import own_names
from ovbench.models.weights.authors import fitted


@pytest.fixture(scope="module")
def released() -> CATSegMethod:
    """A small configuration on the weights that the released code had, by its own names."""
    weights = own_names(tiny_catseg.by_the_authors())
    made = tiny_catseg.catseg(fitted(tiny_catseg.parts(), weights, Path("vectors")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapter, "load_catseg", lambda *_: made)
        return CATSegMethod(CATSegSettings(), Runtime())


@pytest.mark.parametrize("asked", ["few", "many"])
def test_scores_are_those_of_the_released_evaluation(released: CATSegMethod, asked: str) -> None:
    """Fewer classes than look at each other are filled up, of more the least similar drop out."""
    released.prepare(Vocabulary.of(*json.loads(header("catseg")[asked])))
    expected = vectors("catseg")[asked]
    found = released.scores(vectors("catseg")["image"].numpy()).whole()
    require_close(found, expected)
    apart = expected - expected.mean(dim=0)
    assert apart.abs().max() > 0.01
    assert (found.argmax(0) == expected.argmax(0)).float().mean() > 0.995
