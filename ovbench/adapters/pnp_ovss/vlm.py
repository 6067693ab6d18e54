"""The vision-language models that the method was tried on."""

from __future__ import annotations

from ovbench.adapters.pnp_ovss.settings import VLM, WEIGHTS
from ovbench.harness.contract.runtime import Runtime
from ovbench.models.matchers.blip import load_blip
from ovbench.models.matchers.bridgetower import load_bridgetower
from ovbench.models.matchers.matcher import Matcher


def load_vlm(name: VLM, runtime: Runtime) -> Matcher:
    """Load the model of a setting, by the paper's name for it.

    Raises:
        UsageError: weights that cannot be had.
    """
    role, _, weights = WEIGHTS[name].partition("/")
    return load_blip(weights, runtime) if role == "blip" else load_bridgetower(weights, runtime)
