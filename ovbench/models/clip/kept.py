"""What enters CLIP's last block, kept for the other methods of a suite where that is asked for.

Methods of the dense-CLIP family differ in the last block; those that are shown the same windows by
the same CLIP need not run the blocks before it again.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ovbench.harness.files.cache import remembered
from ovbench.harness.files.code import code_of
from ovbench.harness.files.features import kept_features
from ovbench.models.clip.trunk import Trunk, run_trunk
from ovbench.models.patches.positions import Positions, resize_positions
from ovbench.models.weights.content import Content, bytes_of, surroundings


class KeptTrunk:
    """Runs the blocks before the last, or reads what left them."""

    def __init__(self, visual: Any) -> None:
        """Take a plain vision transformer of open_clip."""
        self._visual, self._content = visual, Content(visual)

    def run(self, images: Tensor, positions: Positions) -> Trunk:
        """As :func:`~ovbench.models.clip.trunk.run_trunk`, bit for bit.

        What is kept goes by the windows' pixels as the tower is given them, all that are given
        together, so that no preprocessing and no other batch can be taken for another.
        """
        most = kept_features()
        if most is None:
            return run_trunk(self._visual, images, positions=positions)

        def build() -> dict[str, npt.NDArray[Any]]:
            trunk = run_trunk(self._visual, images, positions=positions)
            # Bytes: NumPy has no bfloat16.
            tokens = trunk.tokens.cpu().contiguous().view(torch.uint8).numpy()
            return {"tokens": tokens, "grid": np.array(trunk.grid)}

        key = {
            "network": self._content.digest(),
            "dtype": str(images.dtype),
            "shape": list(images.shape),
            "pixels": hashlib.sha256(bytes_of(images)).hexdigest(),
            "positions": positions,
            "resizing": code_of(resize_positions),
            **surroundings(images.device),
        }
        found = remembered("features", key, build, must_keep=False, most_bytes=most)
        tokens = torch.from_numpy(found["tokens"]).view(images.dtype).to(images.device)
        height, width = found["grid"].tolist()
        block = self._visual.transformer.resblocks[-1]
        return Trunk(self._visual, block, tokens, (height, width), {}, {})
