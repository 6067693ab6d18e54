"""Talk2DINO's map: from what CLIP says of a text to where DINO shows it.

Barsellotti et al., "Talking to DINO: Bridging Self-Supervised Vision Backbones with Language for
Open-Vocabulary Segmentation" (ICCV 2025); released code: github.com/lorebianchi98/Talk2DINO,
src/model.py, ProjectionLayer.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.precision import frozen
from ovbench.models.weights.authors import fitted, weights_in
from ovbench.models.weights.checkpoints import locate
from ovbench.models.weights.untrained import seeded, untrained

ROLE = "talk2dino"


class TextMapNetwork(nn.Module):
    """Two linear layers with a tanh between them, by the authors' names.

    Args:
        joint: width of CLIP's joint space.
        width: of the encoder of patches.
    """

    def __init__(self, joint: int, width: int) -> None:
        super().__init__()
        self.linear_layer = nn.Linear(joint, width)
        self.hidden_layers = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, texts: Tensor) -> Tensor:
        """``(n, joint)`` to ``(n, width)``, of any length."""
        mapped: Tensor = self.hidden_layers[0](self.linear_layer(texts).tanh())
        return mapped


class TextMap:
    """A frozen map, in float32.

    Attributes:
        checkpoints: which weights these are.
    """

    def __init__(
        self, network: TextMapNetwork, checkpoints: tuple[CheckpointRecord, ...], runtime: Runtime
    ) -> None:
        """Take a network, which is frozen and moved in place."""
        self._network = frozen(network, runtime.device)
        self.checkpoints = checkpoints

    @torch.inference_mode()
    def __call__(self, texts: Tensor) -> Tensor:
        """From ``(n, joint)``, of the length they have, to ``(n, width)`` of unit length."""
        return nn.functional.normalize(self._network(texts), dim=-1)


def load_text_map(name: str, joint: int, width: int, runtime: Runtime) -> TextMap:
    """Load a map.

    Args:
        name: in the catalogue, such as ``"talk2dino_vitb"``, or ``"random"`` for seeded random
            weights, which serve to measure speed.
        joint: width of CLIP's joint space.
        width: of the encoder of patches that it was trained for.

    Raises:
        UsageError: weights that cannot be had, or are for other towers.
    """
    if untrained(name, runtime):
        record = CheckpointRecord(ROLE, "Talk2DINO's map, random weights", None, None)
        with seeded(runtime):
            return TextMap(TextMapNetwork(joint, width), (record,), runtime)
    located = locate(ROLE, name, runtime)
    return TextMap(read_text_map(located.path, joint, width), located.records, runtime)


def read_text_map(path: Path, joint: int, width: int) -> TextMapNetwork:
    """A map of the authors' file.

    Raises:
        UsageError: a file that is damaged, or for other towers.
    """
    weights = weights_in(path)
    first = weights.get("linear_layer.weight")
    if first is not None and first.shape != (width, joint):
        theirs, own = first.shape
        raise UsageError(
            f"{path}: maps {own} numbers to {theirs}, and these towers have {joint} and {width}; "
            "choose the map that was trained with the encoder"
        )
    return fitted(TextMapNetwork(joint, width), weights, path)
