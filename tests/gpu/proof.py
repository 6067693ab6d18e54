"""A run's label maps on one device, and how many pixels agree with another's."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from in_process import ovbench

from ovbench.harness.files.images import read_label

CI = Path(__file__).resolve().parents[2] / "ci"
IMAGES = 2
FIGURES = "OVBENCH_GPU_FIGURES"
"""A file to which figures are appended, one JSON object a line."""


def lines_of(name: str) -> list[str]:
    """The runs of a list below ``ci``, as arguments."""
    lines = (CI / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@dataclass(frozen=True, slots=True)
class Answered:
    """The label maps of a run by image, and its result."""

    maps: Mapping[str, npt.NDArray[Any]]
    result: Mapping[str, Any]


def answered(line: str, output: Path, device: str, precision: str, *more: str) -> Answered:
    """Run a line on a few images; skip the test where its method lacks the precision."""
    done = ovbench(
        "run", *line.split(), "--limit", IMAGES, "--device", device, "--precision", precision,
        "--save-predictions", "--output", output, *more,
    )  # fmt: skip
    if done.returncode == 2 and "precision" in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr
    maps = {path.stem: read_label(path) for path in sorted((output / "predictions").glob("*.png"))}
    assert len(maps) == IMAGES
    return Answered(maps, json.loads((output / "result.json").read_text()))


def agreement(one: Answered, other: Answered) -> float:
    """The share of pixels with equal labels."""
    assert one.maps.keys() == other.maps.keys()
    same = [one.maps[name] == other.maps[name] for name in one.maps]
    return float(np.concatenate([pixels.ravel() for pixels in same]).mean())


def note(**figures: object) -> None:
    """Append figures, with the card's name, where somebody wants them."""
    if path := os.environ.get(FIGURES):
        import torch

        card = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
        with Path(path).open("a") as file:
            file.write(json.dumps({"card": card, "torch": torch.__version__, **figures}) + "\n")
