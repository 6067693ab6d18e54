"""PnP-OVSS beside its released code, on the miniature BLIP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from agreement import DATA, require_equal

from ovbench.adapters.pnp_ovss import PnPOVSS
from ovbench.adapters.pnp_ovss.labels import label_map
from ovbench.adapters.pnp_ovss.pixels import squared
from ovbench.adapters.pnp_ovss.salience import class_maps
from ovbench.datasets import load_dataset
from ovbench.harness.contract.arrays import Image
from ovbench.harness.files.images import read_image
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


def test_a_photograph_with_two_equal_masks_is_that_of_the_released_code(sample_data: Path) -> None:
    """Its classes in an order in which pydensecrf treats the two alike; see docs/fidelity.md."""
    with np.load(DATA / "pnp_ovss_equal_masks.npz") as stored:
        sums, labels, answer = (stored[name] for name in ("sums", "labels", "answer"))
    image = read_image(sample_data / "cocostuff/val2017/000000500044.jpg")
    vocabulary = load_dataset("toyworld_stuff").vocabulary
    settings = segmenter("C_coco").settings
    found = label_map(torch.from_numpy(sums), labels, image, vocabulary, settings)
    require_equal([found], [answer])
