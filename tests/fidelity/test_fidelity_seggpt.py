"""SegGPT against what the released model painted on the miniature's weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from agreement import DATA, require_equal
from showing import shown, vocabulary_of

from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.registry.methods import load_method
from ovbench.models.seggpt import load_seggpt
from ovbench.toyworld.scene import render_scene


@pytest.fixture(scope="module")
def stored() -> dict[str, npt.NDArray[Any]]:
    with np.load(DATA / "seggpt.npz") as file:
        return dict(file)


@pytest.mark.parametrize("count", [1, 3])
def test_seggpt_paints_what_the_released_model_paints(
    count: int, stored: dict[str, npt.NDArray[Any]]
) -> None:
    method = load_method("seggpt", device="cpu", checkpoints="toy").segmenter
    found = []
    for seed, prompts, label in zip(
        stored["scenes"].tolist(), stored["prompts"].tolist(), stored["classes"].tolist(),
        strict=True,
    ):  # fmt: skip
        exemplars = tuple(shown(prompt, label) for prompt in prompts[:count])
        method.prepare(vocabulary_of(label, *exemplars))
        found.append(method.segment([render_scene(seed).image])[0] == 1)
    expected = np.unpackbits(stored[f"masks_{count}"], axis=-1).astype(bool)
    require_equal(found, expected)


def test_seggpt_paints_as_bright(stored: dict[str, npt.NDArray[Any]]) -> None:
    model = load_seggpt("seggpt_vit_large", Runtime(checkpoints="toy"))
    for index, expected in enumerate(stored["painted_3"]):
        label = int(stored["classes"][index])
        exemplars = [shown(seed, label) for seed in stored["prompts"][index].tolist()]
        image = render_scene(int(stored["scenes"][index])).image
        painted = model.paint(model.encode(image), model.encode_prompts(exemplars), "instance")
        np.testing.assert_allclose(painted.numpy(), expected, atol=0.01)
