"""OVDiff's preset ``released_code``, stage by stage beside what the released code made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from agreement import DATA, require_equal

from ovbench.adapters.ovdiff import OVDiff
from ovbench.adapters.ovdiff.masks import rescaled
from ovbench.adapters.ovdiff.prototypes import KINDS
from ovbench.adapters.ovdiff.settings import PRESETS, OVDiffSettings
from ovbench.datasets import load_dataset
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import override
from ovbench.harness.contract.vocabulary import ClassQuery, Vocabulary

EXPECTED = np.load(DATA / "ovdiff.npz")
NAMES = EXPECTED["classes"].tolist()
WORLD = load_dataset("toyworld")
IMAGES = [WORLD.load(index).image for index in range(4)] + [WORLD.load(5).image[:70]]

# Where masks come from: Otsu's thresholds, which the code also writes, and MaskCut, whose masks
# its functions were given in place of CutLER's.
SOURCES = {"otsu": "none", "maskcut": "maskcut"}
MADE = {"pictures": 3, "steps": 3, "parts": 8}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(autouse=True)
def one_cache(shared: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests of this file share what is made once."""
    monkeypatch.setenv("OVBENCH_CACHE", str(shared))


@pytest.fixture(scope="module")
def segmenters(shared: Path) -> dict[str, OVDiff]:
    queries = tuple(ClassQuery(name) for name in NAMES)
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OVBENCH_CACHE", str(shared))
        for source, proposals in SOURCES.items():
            values = {**PRESETS["released_code"], **MADE, "proposals": proposals}
            settings = override(OVDiffSettings, values)
            made[source] = OVDiff(settings, Runtime(checkpoints="toy", seed=42))
            made[source].prepare(Vocabulary(queries, WORLD.vocabulary.background))
    return made


def test_pictures_begin_and_end_as_theirs(segmenters: dict[str, OVDiff]) -> None:
    pictures = np.stack([one.images for one in segmenters["otsu"]._sets])[:, :, ::3, ::3]
    apart = np.abs(pictures.astype(int) - EXPECTED["pictures"])
    assert apart.max() <= 1  # a value that ends on the other side of a whole number
    assert (apart > 0).mean() < 1e-3


def test_attribution_and_masks(segmenters: dict[str, OVDiff]) -> None:
    sets = segmenters["otsu"]._sets
    maps = np.stack([rescaled(one.attribution) for one in sets])
    np.testing.assert_allclose(maps, EXPECTED["attribution"], atol=1e-4)
    for source, segmenter in segmenters.items():
        found = np.stack([np.stack(segmenter._representer.masks(one)) for one in sets])
        expected = np.unpackbits(EXPECTED[f"masks_{source}"], count=found.size)
        assert (found != expected.reshape(found.shape).astype(bool)).mean() < 1e-3, source


@pytest.mark.parametrize("space", ["sd", "dino", "clip"])
def test_prototypes_are_theirs_parts_included(space: Any, segmenters: dict[str, OVDiff]) -> None:
    segmenter = segmenters["otsu"]
    made = segmenter._representer.prototypes(segmenter._sets[1], space)["foreground"]
    for kind in KINDS:
        ours = _unit(made.vectors[made.of_kinds([kind])])
        theirs = _unit(EXPECTED[f"{space}_{kind}"].astype(np.float32))
        assert len(ours) == len(theirs)
        np.testing.assert_allclose((theirs * ours).sum(axis=1), 1, atol=1e-3)


@pytest.mark.parametrize("source", SOURCES)
def test_label_maps(source: str, segmenters: dict[str, OVDiff]) -> None:
    expected = [EXPECTED[f"labels_{source}_{index}"] for index in range(len(IMAGES))]
    assert len(np.unique(np.concatenate([one.ravel() for one in expected]))) > 3
    require_equal(segmenters[source].segment(IMAGES), expected)


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    found: npt.NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return found
