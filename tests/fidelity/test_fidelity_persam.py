"""PerSAM against the masks of the released code on the miniature's weights."""

from __future__ import annotations

import numpy as np
from agreement import DATA, require_equal
from showing import shown, vocabulary_of

from ovbench.harness.registry.methods import load_method
from ovbench.toyworld.scene import render_scene


def test_persam_finds_what_the_released_code_finds() -> None:
    method = load_method("persam", preset="released_code", device="cpu", checkpoints="toy")
    with np.load(DATA / "persam.npz") as stored:
        episodes = zip(stored["scenes"], stored["prompts"], stored["classes"], strict=True)
        expected = np.unpackbits(stored["masks"], axis=-1).astype(bool)
    found = []
    for seed, prompt, label in episodes:
        method.segmenter.prepare(vocabulary_of(int(label), shown(int(prompt), int(label))))
        found.append(method.segmenter.segment([render_scene(int(seed)).image])[0] == 1)
    assert len(found) == 32
    require_equal(found, expected)
