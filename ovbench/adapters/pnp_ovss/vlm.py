"""The vision-language models that the method was tried on."""

from __future__ import annotations

from ovbench.adapters.pnp_ovss.settings import VLM
from ovbench.harness.contract.runtime import Runtime
from ovbench.models.matchers.blip import load_blip
from ovbench.models.matchers.bridgetower import load_bridgetower
from ovbench.models.matchers.matcher import Matcher


def load_vlm(name: VLM, runtime: Runtime) -> Matcher:
    """Load the model of a setting, by the paper's name for it.

    Raises:
        UsageError: weights that cannot be had.
    """
    if name == "bridgetower":
        # Layer 2 of 6 and head 8 of 16 (paper, table 2) tell that it was the large one.
        return load_bridgetower("bridgetower_large_itm", runtime)
    return load_blip(name, runtime)
