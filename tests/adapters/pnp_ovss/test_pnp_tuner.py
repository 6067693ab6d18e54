"""What the search of PnP-OVSS is told of each setting."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ovbench.adapters.pnp_ovss import PnPOVSS
from ovbench.adapters.pnp_ovss.settings import PnPOVSSSettings
from ovbench.adapters.pnp_ovss.tuner import PnPOVSSTuner
from ovbench.datasets import load_dataset
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.tuning import Example
from ovbench.harness.run.counting import present_labels

GOOD, BAD = {"layer": 2, "head": 3, "threshold": 0.05}, {"layer": 4, "head": 1, "threshold": 0.45}


@pytest.fixture(scope="module", params=["toyworld", "toyworld_stuff"])
def world(request: pytest.FixtureRequest) -> tuple[PnPOVSSTuner, list[Example]]:
    data = load_dataset(request.param, split="train")
    tuner = PnPOVSS.tuner(PnPOVSSSettings(), Runtime(checkpoints="toy"))
    tuner.prepare(data.vocabulary)
    samples = [data.load(index) for index in range(12)]
    return tuner, [
        Example(s.id, s.image, present_labels(s.label, data.vocabulary, 255)) for s in samples
    ]


def test_the_space_is_table_2s(world: tuple[PnPOVSSTuner, list[Example]]) -> None:
    maps, blur = world[0].phases
    assert maps.choices["layer"] == (1, 2, 3, 4)  # of this BLIP, as 1 to 12 of the real one
    assert maps.choices["head"] == (1, 2, 3, 4)
    assert maps.choices["threshold"] == (0.05, 0.15, 0.25, 0.35, 0.45)
    assert blur.choices["blur"] == (0.01, 0.03, 0.05, 0.07, 0.09, 0.11)


def test_good_settings_earn_more(world: tuple[PnPOVSSTuner, list[Example]]) -> None:
    tuner, examples = world
    good, bad = sum(tuner.rewards(GOOD, examples)), sum(tuner.rewards(BAD, examples))
    assert good > 2 * bad
    blurred = tuner.rewards({**GOOD, "blur": 0.05}, examples)
    assert all(0 <= r <= len(e.present) for r, e in zip(blurred, examples, strict=True))
    assert sum(blurred) > bad


def test_what_is_remembered_changes_nothing(world: tuple[PnPOVSSTuner, list[Example]]) -> None:
    tuner, examples = world
    tuner.rewards({**GOOD, "head": 1}, examples)
    remembered = tuner.rewards({**GOOD, "head": 2}, examples)
    tuner.prepare(tuner._vocabulary)
    assert tuner.rewards({**GOOD, "head": 2}, examples[:5]) == remembered[:5]
    assert tuner.rewards({**GOOD, "head": 2}, examples) == remembered


def test_gradcam_masks_are_those_of_the_present_classes(
    world: tuple[PnPOVSSTuner, list[Example]],
) -> None:
    tuner, examples = world
    settings = tuner._settled(GOOD)
    masks = tuner._gradcam(examples, settings)
    for example, mask in zip(examples, masks, strict=True):
        assert mask.shape == (len(example.present), *example.image.shape[:2])
    everything = [Example(e.id, e.image, tuner._asker.everything().labels) for e in examples[:1]]
    tuner.prepare(tuner._vocabulary)
    rows = np.searchsorted(everything[0].present, examples[0].present)
    torch.testing.assert_close(tuner._gradcam(everything, settings)[0][rows], masks[0])
