"""SC-CLIP, SFP and ResCLIP on windows that are not square, several at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ovbench.adapters.dense_clip.resclip import most_frequent
from ovbench.errors import UsageError
from ovbench.harness.contract.settings import override
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.registry.methods import load_method
from ovbench.harness.registry.names import METHODS

METHOD_SETTINGS = [
    ("scclip", {}),
    ("scclip", {"levels": ()}),
    ("sfp", {}),
    ("sfp", {"outliers": "norm", "most_outliers": 2}),
    ("sfp", {"every_block": True}),
    ("sfp", {"every_block": True, "outliers": "density"}),
    ("resclip", {"sfr_threshold": 0.4}),
]


@pytest.mark.parametrize(("name", "settings"), METHOD_SETTINGS)
def test_windows_do_not_know_of_one_another(
    name: str, settings: dict[str, Any], tiny_architecture: str
) -> None:
    given = {"pretrained": "random", "prompts": "single", "architecture": tiny_architecture}
    method: Any = load_method(
        name, settings={**given, **settings}, device="cpu", checkpoints="real"
    ).segmenter
    method.prepare(Vocabulary.of("cat", "dog", "sea"))
    windows = torch.randn(3, 3, 40, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together = method.features(windows)
        alone = torch.cat([method.features(window[None]) for window in windows])
    assert together.shape == (3, 32, 5, 8)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_every_block_is_purified_if_asked_for(tiny_architecture: str) -> None:
    """Tokens that left the first block are other ones for those after it."""
    windows = torch.randn(1, 3, 40, 64, generator=torch.Generator().manual_seed(0))
    found = []
    for every in (False, True):
        settings = {"pretrained": "random", "architecture": tiny_architecture, "every_block": every}
        method: Any = load_method("sfp", settings=settings, device="cpu").segmenter
        method.prepare(Vocabulary.of("cat"))
        found.append(method.features(windows))
    assert (found[0] - found[1]).abs().max() > 1e-3


def test_the_most_frequent_label_of_a_patch() -> None:
    """The smallest of equals; beyond the last patch nothing counts."""
    labels = torch.tensor(
        [[7, 7, 2, 9, 5], [3, 3, 9, 2, 5], [4, 4, 0, 1, 5], [4, 6, 1, 1, 5], [5, 5, 5, 5, 5]]
    )
    assert most_frequent(labels.numpy(), (2, 2), 2).tolist() == [3, 2, 4, 1]


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("scclip", {"levels": (3, 11)}, "levels must lie between 0 and 10"),
        ("scclip", {"neighbours": 0}, "neighbours must be positive"),
        ("scclip", {"outlier_share": 1.5}, "outlier_share must lie between 0 and 1"),
        ("sfp", {"most_outliers": -1}, "most_outliers must not be negative"),
        ("resclip", {"rcs_weight": 4.0}, "rcs_weight must lie between 0 and 1"),
        ("resclip", {"blocks": ()}, "blocks must name one at least"),
        ("resclip", {"sfr_blur": 0.0}, "sfr_blur must be positive"),
        ("resclip", {"pamr_dilations": ()}, "sfr_iterations needs pamr_dilations"),
    ],
)
def test_wrong_settings_are_one_line(name: str, values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        override(METHODS.load(name).Settings, values)
