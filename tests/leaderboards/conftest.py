"""Runs to report on, and a browser that opens their pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.run.runner import Options, evaluate

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class Channel:
    """Answers with a colour channel's brightness."""

    def __init__(self, channel: int) -> None:
        self.channel = channel

    def prepare(self, vocabulary: Vocabulary) -> None:
        self.labels = len(vocabulary)

    def segment(self, images: Any, candidates: Any = None) -> list[LabelMap]:
        shown = [image[..., self.channel].astype(np.uint16) for image in images]
        return [(one * self.labels // 256).astype(np.uint8) for one in shown]


@pytest.fixture
def made(tmp_path: Path) -> Any:
    """Makes a run of a dataset by one channel, its predictions kept."""

    def make(dataset: Any, name: str = "run", channel: int = 0, **options: Any) -> Path:
        kept = Options(**{"save_predictions": True, **options})
        evaluate(Channel(channel), dataset, output=tmp_path / name, options=kept)
        return tmp_path / name

    return make


def _missing(what: str) -> None:
    if os.environ.get("OVBENCH_REQUIRE_BROWSER") == "1":
        pytest.fail(f"OVBENCH_REQUIRE_BROWSER=1, but {what}")
    pytest.skip(what)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A Chromium without a window, the one that the system has."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        _missing(f"there is none of {', '.join(BROWSERS)}")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("playwright is not installed")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path)
        yield started
        started.close()
