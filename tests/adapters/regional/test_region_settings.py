"""Every generator of regions can be chosen, and says what it loads."""

from __future__ import annotations

import pytest

from ovbench.adapters.regional.settings import RegionSettings, generator_of
from ovbench.harness.registry.picking import picks_of
from ovbench.models.regions.generators import GENERATORS, GeneratorName


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("method", ["corrclip", "textregion"])
def test_a_name_chooses_its_generator_and_its_weights(method: str, name: GeneratorName) -> None:
    generator = generator_of(RegionSettings(regions=name))
    assert type(generator) is GENERATORS[name]
    chosen = [pick.checkpoint({"regions": name}) for pick in picks_of(method) if pick.when]
    loaded = [one for one in chosen if one is not None]
    weights = getattr(generator, "weights", None)
    assert [one.partition("/")[2] for one in loaded] == ([] if weights is None else [weights])
