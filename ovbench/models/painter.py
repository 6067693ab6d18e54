"""Painter: SegGPT's network before it was given tokens that tell it its task.

Wang et al., "Images Speak in Images: A Generalist Painter for In-Context Visual Learning" (CVPR
2023). With these tokens at zero transformers' ``SegGptForImageSegmentation`` computes what the
released ``models_painter.py`` does; its list of windowed blocks holds lists in place of numbers,
so that there no block is windowed either.
"""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ovbench.harness.contract.runtime import Runtime
from ovbench.models.seggpt import SegGPT, read_folder
from ovbench.models.weights.authors import fitted, weights_in
from ovbench.models.weights.checkpoints import locate

ROLE = "painter"

TYPE_TOKENS = tuple(f"model.embeddings.type_token_{kind}" for kind in ("instance", "semantic"))

_NAMES: Mapping[str, str] = {
    r"pos_embed": "model.embeddings.position_embeddings",
    r"mask_token": "model.embeddings.mask_token",
    r"segment_token_x": "model.embeddings.segment_token_input",
    r"segment_token_y": "model.embeddings.segment_token_prompt",
    r"patch_embed\.proj(\..+)": r"model.embeddings.patch_embeddings.projection\1",
    r"blocks\.(\d+)\.norm1(\..+)": r"model.encoder.layers.\1.layernorm_before\2",
    r"blocks\.(\d+)\.norm2(\..+)": r"model.encoder.layers.\1.layernorm_after\2",
    r"blocks\.(\d+)\.attn(\..+)": r"model.encoder.layers.\1.attention\2",
    r"blocks\.(\d+)\.mlp\.fc([12])(\..+)": r"model.encoder.layers.\1.mlp.lin\2\3",
    r"norm(\..+)": r"model.encoder.layernorm\1",
    r"decoder_embed(\..+)": r"decoder.decoder_embed\1",
    r"decoder_pred\.0(\..+)": r"decoder.decoder_pred.conv\1",
    r"decoder_pred\.1(\..+)": r"decoder.decoder_pred.layernorm\1",
    r"decoder_pred\.3(\..+)": r"decoder.decoder_pred.head\1",
}
"""Of what the authors' file calls a weight, what transformers calls it."""


def load_painter(name: str, runtime: Runtime) -> SegGPT:
    """Load a Painter.

    Args:
        name: in the catalogue, such as ``"painter_vit_large"``, or a SegGPT's hub id.

    Returns:
        A model to which the kind of embedding says nothing.

    Raises:
        UsageError: weights that cannot be had, or are not those of such a model.
    """
    located = locate(ROLE, name, runtime)
    if located.path.is_dir():
        model = read_folder(located.path)
    else:
        from transformers import SegGptConfig

        model = read_file(located.path, SegGptConfig())  # the sizes of the one that was released
    return SegGPT(without_type_tokens(model), located.records, runtime)


def read_file(file: Path, config: Any) -> Any:
    """The authors' file as a ``SegGptForImageSegmentation`` of a configuration.

    Raises:
        UsageError: a file that is damaged, or whose weights are not exactly the model's.
    """
    from transformers import SegGptForImageSegmentation

    with torch.serialization.safe_globals([Namespace]):  # the arguments of its training
        weights = weights_in(file, "model")
    model = SegGptForImageSegmentation(config)
    tokens = {name: model.state_dict()[name] for name in TYPE_TOKENS}
    return fitted(model, {**tokens, **{renamed(key): w for key, w in weights.items()}}, file)


def renamed(name: str) -> str:
    """What transformers calls a weight; one that it does not have is as it was."""
    for theirs, ours in _NAMES.items():
        if found := re.fullmatch(theirs, name):
            return found.expand(ours)
    return name


def without_type_tokens(model: Any) -> Any:
    """Set both tokens of a ``SegGptForImageSegmentation`` to zero, in place."""
    for name in TYPE_TOKENS:
        model.get_parameter(name).data.zero_()
    return model
