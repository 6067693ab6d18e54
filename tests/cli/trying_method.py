"""A method that costs and fails as it is told, as another package would register it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import setting
from ovbench.harness.contract.stages import stage
from ovbench.harness.contract.vocabulary import Vocabulary


@dataclass(frozen=True)
class TryingSettings:
    hold: int = setting(0, "our choice", "MiB that are held")
    fail: Literal["never", "raise", "memory", "kill", "tell"] = setting(
        "never", "our choice", "what happens to a batch of more than one image"
    )


class Trying:
    """Answers label 0, in two stages of 20 and 10 ms per image."""

    Settings = TryingSettings

    def __init__(self, settings: TryingSettings, runtime: Runtime) -> None:
        if runtime.precision == "fp16":
            raise UsageError("trying has no fp16")
        self.settings = settings
        self.held = np.ones(settings.hold * 2**20, dtype=np.uint8)

    def prepare(self, vocabulary: Vocabulary) -> None:
        print("a method may print")
        time.sleep(0.05)

    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        if len(images) > 1:
            self._fail(images)
        with stage("look"):
            time.sleep(0.02 * len(images))
            with stage("closely"):
                time.sleep(0.005)
        with stage("answer"):
            time.sleep(0.01 * len(images))
        return [np.zeros(image.shape[:2], dtype=np.uint8) for image in images]

    def _fail(self, images: Sequence[Image]) -> None:
        match self.settings.fail:
            case "raise":
                raise ValueError("one image at a time\nand no more")
            case "memory":
                np.ones(2**50, dtype=np.uint8)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "tell":
                raise ValueError(f"shapes {[image.shape for image in images]}")


class Hungry(Trying):
    """Holds 400 MiB whatever the settings say."""

    def __init__(self, settings: TryingSettings, runtime: Runtime) -> None:
        super().__init__(TryingSettings(hold=400), runtime)
