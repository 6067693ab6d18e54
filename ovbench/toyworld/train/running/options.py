"""What every training run is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    """One training run.

    Attributes:
        output: the folder that receives the checkpoint, and the state while training.
        steps: optimizer steps in all.
        device: a torch device string.
        seed: of weights, scenes, captions and crops.
        save_every: steps between two saved states.
    """

    output: Path
    steps: int
    device: str = "cpu"
    seed: int = 0
    save_every: int = 200
