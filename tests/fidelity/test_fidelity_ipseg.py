"""IPSeg against the masks of the released code on the miniatures' weights."""

from __future__ import annotations

import numpy as np
from agreement import DATA, require_equal
from showing import shown, vocabulary_of

from ovbench.adapters.ipseg import IPSeg
from ovbench.adapters.ipseg.prompt import similarity
from ovbench.harness.methods import load_method
from ovbench.toyworld.scene import render_scene


def test_ipseg_answers_as_the_released_code() -> None:
    method = load_method(
        "ipseg",
        preset="released_code",
        settings={"prompt_mask": "truth"},
        device="cpu",
        checkpoints="toy",
    ).segmenter
    assert isinstance(method, IPSeg)
    with np.load(DATA / "ipseg.npz") as file:
        stored = dict(file)
    squares = np.unpackbits(stored["masks"], axis=-1).astype(bool)
    found, expected = [], []
    for index, square in enumerate(squares):
        label, height = int(stored["classes"][index]), int(stored["heights"][index])
        image = render_scene(int(stored["scenes"][index])).image[:height]
        method.prepare(vocabulary_of(label, shown(int(stored["prompts"][index]), label)))
        found.append(method.segment([image])[0] == 1)
        rows = ((np.arange(height) + 0.5) * len(square) / height).astype(int)
        expected.append(square[rows])
        if index < len(stored["similarities"]):
            extractor = method._extractor
            blocks = extractor.blocks(extractor.layers(image))
            ours = similarity(blocks, method._embeddings[0], extractor.weights)
            np.testing.assert_allclose(ours, stored["similarities"][index], atol=1e-4)
    assert len(found) >= 20
    # A third of the scenes are no squares: where equal places are sorted otherwise, these differ.
    require_equal(found, expected, at_least=99.9)
