"""MAE's encoder from the file that its authors publish."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ovbench.harness.files.regular import regular
from ovbench.models.patches.timm_names import empty_vit, stock_names
from ovbench.models.weights.pretrained import reading


def load_mae(file: Path) -> tuple[Any, Mapping[str, Any]]:
    """The encoder as a ``ViTModel``, and what of it the file lacks, as transformers reports it.

    Sizes are those of the weights; the decoder is left where it is.

    Raises:
        UsageError: a file that is damaged, or not MAE's.
    """
    with reading(file), torch.serialization.safe_globals([Namespace]):
        content = torch.load(regular(file), map_location="cpu", weights_only=True)
        if not isinstance(content, dict) or "pos_embed" not in content.get("model", {}):
            raise ValueError("no weights of MAE")
        model = empty_vit(content["model"])
        report = model.load_state_dict(stock_names(content["model"]), strict=False)
        return model, {"missing_keys": report.missing_keys}
