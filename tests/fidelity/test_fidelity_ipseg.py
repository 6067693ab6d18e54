"""IPSeg against the masks of the released code on the miniatures' weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from agreement import DATA, require_equal
from showing import shown, vocabulary_of

from ovbench.adapters.ipseg import IPSeg
from ovbench.adapters.ipseg.prompt import similarity
from ovbench.harness.contract.vocabulary import Exemplar
from ovbench.harness.files.images import read_image, read_label
from ovbench.harness.registry.methods import load_method
from ovbench.toyworld.scene import render_scene

Mask = npt.NDArray[np.bool_]

# Pictures that are no squares have equal places: sorted otherwise, these differ by more.
AT_LEAST = 99.9


@pytest.fixture(scope="module")
def method() -> IPSeg:
    found = load_method(
        "ipseg",
        preset="released_code",
        settings={"prompt_mask": "truth"},
        device="cpu",
        checkpoints="toy",
    ).segmenter
    assert isinstance(found, IPSeg)
    return found


def stored(name: str) -> tuple[dict[str, Any], Mask]:
    """What the released code was asked, and its masks on the square."""
    with np.load(DATA / name) as file:
        content = dict(file)
    return content, np.unpackbits(content["masks"], axis=-1).astype(bool)


def brought_to(square: Mask, height: int, width: int) -> Mask:
    """By nearest neighbours, as the method brings SAM's mask to the picture."""
    rows, columns = (
        ((np.arange(length) + 0.5) * len(square) / length).astype(int) for length in (height, width)
    )
    return square[rows][:, columns]


def test_ipseg_answers_as_the_released_code(method: IPSeg) -> None:
    asked, squares = stored("ipseg.npz")
    found, expected = [], []
    for index, square in enumerate(squares):
        label, height = int(asked["classes"][index]), int(asked["heights"][index])
        image = render_scene(int(asked["scenes"][index])).image[:height]
        method.prepare(vocabulary_of(label, shown(int(asked["prompts"][index]), label)))
        found.append(method.segment([image])[0] == 1)
        expected.append(brought_to(square, *image.shape[:2]))
        if index < len(asked["similarities"]):
            extractor = method._extractor
            blocks = extractor.blocks(extractor.layers(image))
            ours = similarity(blocks, method._embeddings[0], extractor.weights)
            np.testing.assert_allclose(ours, asked["similarities"][index], atol=1e-4)
    assert len(found) >= 20
    require_equal(found, expected, AT_LEAST)


def test_ipseg_answers_so_on_photographs(method: IPSeg, sample_data: Path) -> None:
    asked, squares = stored("ipseg_photographs.npz")
    found, expected = [], []
    for index, square in enumerate(squares):
        mask = read_label(sample_data / asked["shown"][index]) == asked["labels"][index]
        exemplar = Exemplar(read_image(sample_data / asked["prompts"][index]), mask)
        image = read_image(sample_data / asked["pictures"][index])
        method.prepare(vocabulary_of(0, exemplar))
        found.append(method.segment([image])[0] == 1)
        expected.append(brought_to(square, *image.shape[:2]))
    require_equal(found, expected, AT_LEAST)
