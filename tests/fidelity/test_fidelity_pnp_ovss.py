"""PnP-OVSS beside its released code, on the miniature BLIP."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch
from agreement import DATA, require_equal

from ovbench.adapters.pnp_ovss import PnPOVSS
from ovbench.adapters.pnp_ovss.pixels import squared
from ovbench.adapters.pnp_ovss.salience import class_maps
from ovbench.datasets import load_dataset
from ovbench.harness.contract.arrays import Image
from ovbench.harness.registry.methods import load_method

# The scripts' flags in the run whose answers are stored; see README.md.
PLACE = {"layer": 2, "head": 3, "resolution": 96}
PRESETS = {
    "C_voc": "cvpr_code_voc",
    "C_psc": "cvpr_code_context",
    "C_ade": "cvpr_code_ade20k",
    "C_coco": "cvpr_code_coco",
    "H_voc": "head_code",
    "H_psc": "head_code_context",
    "H_ade": "head_code_ade20k",
}
Arrays = dict[str, npt.NDArray[np.generic]]


@pytest.fixture(scope="module")
def released() -> Iterator[Arrays]:
    with np.load(DATA / "pnp_ovss.npz") as stored:
        yield dict(stored)


def scenes(released: Arrays) -> tuple[list[Image], list[tuple[int, ...]]]:
    """Pictures, and the labels of the classes in them: what the authors' code was told."""
    data = load_dataset("toyworld")
    samples = [data.load(int(index)) for index in released["scenes"]]
    present = [tuple(int(v) for v in np.unique(s.label) if v) for s in samples]
    return [sample.image for sample in samples], present


def segmenter(variant: str) -> PnPOVSS:
    loaded = load_method("pnp_ovss", preset=PRESETS[variant], checkpoints="toy", settings=PLACE)
    assert isinstance(loaded.segmenter, PnPOVSS)
    loaded.segmenter.prepare(load_dataset("toyworld").vocabulary)
    return loaded.segmenter


@pytest.mark.parametrize("variant", PRESETS)
def test_label_maps_are_those_of_the_released_code(released: Arrays, variant: str) -> None:
    images, present = scenes(released)
    require_equal(segmenter(variant).segment(images, present), list(released[f"labels_{variant}"]))


@pytest.mark.parametrize("variant", ["C_voc", "C_psc", "H_voc"])
def test_summed_maps_are_those_of_the_released_code(released: Arrays, variant: str) -> None:
    """GradCAM, rounds, what is dropped and how rounds are added up."""
    method, (images, present) = segmenter(variant), scenes(released)
    questions = [method._ask(classes) for classes in present]
    with torch.no_grad():
        pixels = squared(method._model, images, method.settings)
        found = class_maps(method._model, pixels, questions, method.settings)
    for index, (maps, question) in enumerate(zip(found, questions, strict=True)):
        ours = maps[torch.from_numpy(np.isin(question.labels, present[index]))].numpy()
        theirs = released[f"sum_{variant}_{index}"]
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * float(theirs.max()))
