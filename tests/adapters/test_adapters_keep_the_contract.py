"""Every registered adapter against the contract, with weights that need no download."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tiny_towers

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import CheckpointFlavour
from ovbench.harness.contract.settings import describe, override
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.registry.methods import load_method
from ovbench.harness.registry.names import FILTERS, METHODS, Registry
from ovbench.harness.run.conformance import conformance_checks

VOCABULARIES = (
    Vocabulary.of("cat", "dog", "bird", "sheep", background=True),
    Vocabulary.of("sea", "sky"),
)
TINY = {"pretrained": "random", "prompts": "single", "short_side": 48, "max_long_side": 160}
# Few rough pictures, and one look at each image: there are many, one of two megapixels.
OVDIFF = {
    "pictures": 1, "steps": 1, "guidance": 1.0, "parts": 2, "extractors": ("dino", "clip"),
    "filter_most": 3, "short_side": 40, "windows": (),
}  # fmt: skip
SMALL = {"short_side": 48, "max_long_side": 96, "window": 0}
RIM = {"pictures": 2, "steps": 2, "subcategories": 2, "points_per_side": 3, "max_long_side": 320}
DENSE_CLIP = ("sclip", "clearclip", "naclip", "scclip", "sfp", "resclip", "gem")
CLIPS = ("maskclip", "tcl", *DENSE_CLIP)
TOWERS = ("simseg", "clippy")
RANDOM = ("constant", "random", "cliptrase", *TOWERS, *CLIPS)
MATCHER = {"grid": 0, "samples": 2, "most": 2, "multimask": False, "emd_cells": 32}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("constant", {}),
        ("random", {}),
        ("maskclip", {**TINY, "key_smoothing": 1.0}),
        ("maskclip", {**TINY, "window": 32, "window_stride": 16, "background": "both"}),
        ("pnp_ovss", {"crf_iterations": 0}),
        ("ovdiff", OVDIFF),
        ("rim", {**RIM, "background": "candidate"}),
        ("rim", {**RIM, "agents_by": "random", "proposals": "none"}),
        ("rim", {**RIM, "matching": "text"}),
        ("freeda", {**SMALL, "collection": "random"}),
        ("sclip", {"pretrained": "random", "area_share": 0.1, "background_threshold": 0.2}),
        ("clearclip", {"pretrained": "random", "window_multiple": 16}),
        ("naclip", {"pretrained": "random", "window": 0, "pamr_iterations": 2}),
        ("scclip", {"pretrained": "random", "prompts": "single"}),
        ("sfp", {"pretrained": "random", "prompts": "single"}),
        ("resclip", {"pretrained": "random", "prompts": "single", "sfr_iterations": 2}),
        ("proxyclip", {"background_threshold": 0.2}),
        ("gem", {**SMALL, "pretrained": "random", "resizing": "squashed", "min_max": True}),
        ("cliptrase", {**SMALL, "pretrained": "random", "image_logits": True}),
        ("cass", {**SMALL, "class_token": "window", "picture": "released", "rank": None}),
        ("clip_dinoiser", {**SMALL, "guide": "teacher", "background_rule": True}),
        ("lavg", {**SMALL, "pretrained": "random", "cut_side": 48}),
        ("lposs", {**SMALL, "pretrained": "random"}),
        ("lposs_plus", {**SMALL, "pretrained": "random", "reach": 1}),
        ("trident", {**SMALL, "halves": True, "sam_refinement": True, "region_area": 225}),
        ("corrclip", {**SMALL, "points_per_side": 2, "background_threshold": 0.2}),
        ("corrclip", {**SMALL, "regions": "superpixels", "superpixels": 9, "vote": False}),
        ("textregion", {"short_side": 96, "window": 48, "points_per_side": 2}),
        ("clip_diy", {"side": 64, "patches": (64, 32), "steps": 1, "saliency_long_side": 96}),
        (
            "tcl",
            {
                "pretrained": "random",
                "weights": "random",
                "pamr_iterations": 2,
                "short_side": 48,
                "max_long_side": 96,
                "window": 48,
                "window_stride": 24,
            },
        ),
        ("simseg", {"weights": "random", "side": 48, "crf_iterations": 1}),
        ("clippy", {"weights": "random", "side": 48}),
        (
            "reco",
            {
                "pictures": 2,
                "picture_side": 32,
                "prompts": "single",
                "short_side": 48,
                "max_long_side": 96,
                "window": 48,
                "window_stride": 48,
                "crf_iterations": 1,
            },
        ),
        pytest.param("diffsegmenter", {"captioner": "none"}, marks=pytest.mark.slow),
        ("persam", {}),
        ("matcher", MATCHER),
        pytest.param(
            "matcher",
            {**MATCHER, "reference": "saliency", "prompts": "centres", "most": 1},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "pnp_ovss", {"vlm": "bridgetower", "crf_iterations": 1}, marks=pytest.mark.slow
        ),
        ("ipseg", {"features": "dinov2", "grid": 8}),
        pytest.param("ipseg", {"sam_passes": "cascade"}, marks=pytest.mark.slow),
    ],
)
def test_contract(
    name: str,
    settings: dict[str, Any],
    tiny_architecture: str,
    deeper_architecture: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if name in TOWERS:
        tiny_towers.use(monkeypatch)
    if name in CLIPS:
        settings = {**settings, "architecture": tiny_architecture}
    if name == "cliptrase":
        settings = {**settings, "architecture": deeper_architecture}
    # Models that have no random weights to offer: the packaged ones serve as well.
    flavour: CheckpointFlavour = "real" if name in RANDOM else "toy"
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(3)]
    outcomes = conformance_checks(
        lambda: load_method(name, settings=settings, device="cpu", checkpoints=flavour),
        VOCABULARIES,
        images,
    )
    assert [(o.name, o.finding) for o in outcomes if not o.passed] == []


@pytest.mark.parametrize("registry", [METHODS, FILTERS])
def test_no_whole_number_is_taken_that_work_without_an_end_would_follow(registry: Registry) -> None:
    own = [name for name, entry in registry.entries.items() if entry.package == "ovbench"]
    numbers = [
        (registry.load(name).Settings, setting)
        for name in own
        for setting in describe(registry.load(name).Settings)
        if "int" in setting.type.replace(",...", "").split(" or ")
    ]
    assert numbers
    for settings, setting in numbers:
        large = 2**33
        with pytest.raises(UsageError, match=rf"setting.* {setting.name}\b.*") as caught:
            override(settings, {setting.name: [large] if ",..." in setting.type else large})
        assert "\n" not in str(caught.value)
