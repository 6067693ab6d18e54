"""A distilled DeiT from the file that its authors publish, which names its weights as timm does.

Touvron et al., "Training Data-Efficient Image Transformers & Distillation through Attention" (ICML
2021). Naseer et al., "Intriguing Properties of Vision Transformers" (NeurIPS 2021), trained the one
that ReCo looks with, on ImageNet in the styles of paintings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ovbench.errors import UsageError
from ovbench.models.patches.timm_names import stock_names
from ovbench.models.weights.authors import fitted

_HEAD_WIDTH = 64  # of all DeiTs
_EPS = 1e-6  # of their normalisations
_DISTILLATION = {"dist_token": "embeddings.distillation_token"}
"""What timm and transformers call the one token that a plain transformer has not."""

_HEADS = ("head.", "head_dist.")
"""Classifiers, which are left where they are."""


def load_deit(weights: Mapping[str, Tensor], file: Path) -> Any:
    """The network as a ``DeiTModel``; its sizes are those of the weights.

    Args:
        weights: by the authors' names.
        file: that holds them, for the message.

    Raises:
        UsageError: weights that are not exactly the network's.
    """
    try:
        model = deit(
            width=weights["pos_embed"].shape[2],
            layers=len({name.split(".")[1] for name in weights if name.startswith("blocks.")}),
            patch=weights["patch_embed.proj.weight"].shape[-1],
            side=math.isqrt(weights["pos_embed"].shape[1] - 2),
        )
    except KeyError as error:
        raise UsageError(f"{file}: is not what was expected: it lacks {error}") from None
    return fitted(model, deit_names(weights), file)


def deit(width: int = 384, layers: int = 12, patch: int = 16, side: int = 14) -> Any:
    """A ``DeiTModel`` of fresh weights, DeiT-S/16 by default; ``side`` is of its own grid."""
    from transformers import DeiTConfig, DeiTModel

    config = DeiTConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // _HEAD_WIDTH),
        intermediate_size=4 * width,
        image_size=side * patch,
        patch_size=patch,
        layer_norm_eps=_EPS,
    )
    return DeiTModel(config, add_pooling_layer=False)


def deit_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights by the names of transformers' ``DeiTModel``, without the classifiers."""
    kept = {name: weight for name, weight in weights.items() if not name.startswith(_HEADS)}
    return {_DISTILLATION.get(name, name): weight for name, weight in stock_names(kept).items()}
