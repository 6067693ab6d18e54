"""A RADIO in a folder: transformers' configuration, weights of the transformer and its heads."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from torch import nn

from ovbench.errors import UsageError
from ovbench.harness.files.regular import regular
from ovbench.models.radio.file import Released
from ovbench.models.radio.heads import head_for
from ovbench.models.weights.authors import fitted

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def read_folder(folder: Path, teachers: Collection[str]) -> Released:
    """The transformer and the heads that are asked for, in float32.

    The weights are parameters by :class:`~ovbench.models.radio.file.Released`'s names; mean and
    deviation of pixels stand in the configuration.

    Raises:
        UsageError: weights that are not those of such a RADIO, or lack a head.
    """
    from safetensors.torch import load_file
    from transformers import RadioConfig, RadioModel

    file = folder / WEIGHTS
    weights = {name: one.float() for name, one in load_file(regular(file)).items()}
    trunk = RadioModel(
        RadioConfig(**json.loads(regular(folder / CONFIG).read_text(encoding="utf-8")))
    )
    heads = {}
    for name in teachers:
        prefix = f"heads.{name}."
        head = head_for({k[len(prefix) :]: w for k, w in weights.items() if k.startswith(prefix)})
        if head is None:
            raise UsageError(f"{file}: has no head for {name}")
        heads[name] = head
    kept = ("trunk.", *(f"heads.{name}." for name in heads))
    weights = {name: one for name, one in weights.items() if name.startswith(kept)}
    released = Released(trunk, nn.Identity(), heads)
    return fitted(released, {**dict(released.named_buffers()), **weights}, file)
