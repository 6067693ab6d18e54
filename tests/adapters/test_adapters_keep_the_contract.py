"""Every registered adapter against the contract, with weights that need no download."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ovbench.harness.conformance import conformance_checks
from ovbench.harness.methods import load_method
from ovbench.harness.protocol import CheckpointFlavour, Vocabulary

VOCABULARIES = (
    Vocabulary.of("cat", "dog", "bird", "sheep", background=True),
    Vocabulary.of("sea", "sky"),
)
TINY = {"pretrained": "random", "prompts": "single", "short_side": 48, "max_long_side": 160}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("constant", {}),
        ("random", {}),
        ("maskclip", {**TINY, "key_smoothing": 1.0}),
        ("maskclip", {**TINY, "window": 32, "window_stride": 16, "background": "both"}),
        ("pnp_ovss", {"crf_iterations": 0}),
        pytest.param("pnp_ovss", {"vlm": "bridgetower"}, marks=pytest.mark.slow),
        ("ipseg", {"features": "dinov2", "grid": 8}),
        pytest.param("ipseg", {"sam_passes": "cascade"}, marks=pytest.mark.slow),
    ],
)
def test_contract(name: str, settings: dict[str, Any], tiny_architecture: str) -> None:
    if name == "maskclip":
        settings = {**settings, "architecture": tiny_architecture}
    # Its models have no random weights to offer; the packaged ones serve as well.
    flavour: CheckpointFlavour = "toy" if name in ("pnp_ovss", "ipseg") else "real"
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(3)]
    outcomes = conformance_checks(
        lambda: load_method(name, settings=settings, device="cpu", checkpoints=flavour),
        VOCABULARIES,
        images,
    )
    assert [(o.name, o.finding) for o in outcomes if not o.passed] == []
