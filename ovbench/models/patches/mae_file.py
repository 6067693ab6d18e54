"""MAE's encoder from the file that its authors publish."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ovbench.errors import UsageError
from ovbench.models.patches.timm_names import empty_vit, stock_names
from ovbench.models.weights.pretrained import reading


def load_mae(weights: Mapping[str, Tensor], file: Path) -> Any:
    """The encoder as a ``ViTModel``.

    Sizes are those of the weights; the decoder is left where it is.

    Args:
        weights: by the authors' names.
        file: that holds them, for the message.

    Raises:
        UsageError: weights that are not MAE's, or not all of them.
    """
    with reading(file):
        if "pos_embed" not in weights:
            raise ValueError("no weights of MAE")
        model = empty_vit(weights)
        report = model.load_state_dict(stock_names(weights), strict=False)
    if report.missing_keys:
        raise UsageError(f"{file}: has no weights for {min(report.missing_keys)}")
    return model
