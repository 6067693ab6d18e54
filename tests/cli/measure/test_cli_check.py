"""The conformance kit over the methods of the package, through the command line."""

from __future__ import annotations

import pytest
from in_process import ovbench

from ovbench.harness.registry.glance import card_of
from ovbench.harness.registry.names import METHODS
from ovbench.models.weights.packaged import roles

# Held to the contract with small settings in tests/adapters. As their papers have them the first
# make hundreds of pictures or ask SAM thousands of times; the others look as SCLIP does, and
# Painter paints as SegGPT does, by the same class.
ELSEWHERE = {
    *("ipseg", "ovdiff", "rim", "matcher", "persam", "reco", "painter"),
    *("clearclip", "naclip", "scclip", "sfp", "resclip", "proxyclip", "gem", "cliptrase", "cass"),
    *("clip_dinoiser", "freeda", "lposs", "lposs_plus", "trident", "corrclip", "lavg"),
    *("textregion", "radseg"),
}
# The way through the command line is the same for all.
FAST = {"constant", "maskclip"}

# Dense CRFs over the kit's pictures take minutes, and so do six sizes of each.
QUICK = {
    "pnp_ovss": ("--set", "crf_iterations=0"),
    "simseg": ("--set", "crf_iterations=0"),
    "clippy": ("--set", "side=96"),
    "lseg": ("--set", "scales=1", "--set", "flip=false"),
}


def has_miniatures(method: str) -> bool:
    """Whether there is one of all that it loads by default."""
    card = card_of(method)
    assert card is not None
    return {weight.partition("/")[0] for weight in card.weights} <= {*roles()}


@pytest.mark.parametrize(
    "method",
    [
        name if name in FAST else pytest.param(name, marks=pytest.mark.slow)
        for name, entry in METHODS.entries.items()
        if entry.package == "ovbench" and name not in ELSEWHERE and has_miniatures(name)
    ],
)
def test_every_method_keeps_the_contract(method: str) -> None:
    done = ovbench("check", method, "--device", "cpu", *QUICK.get(method, ()))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
