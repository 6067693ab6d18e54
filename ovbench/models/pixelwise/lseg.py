"""LSeg: a vision transformer and a neck that learned from label maps where each text is.

Li, Weinberger, Belongie, Koltun and Ranftl, "Language-driven Semantic Segmentation" (ICLR 2022);
released code: github.com/isl-org/lang-seg. The texts are those of a frozen CLIP, which is not here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.files.json_files import parse
from ovbench.harness.files.regular import regular
from ovbench.models.patches.encoder import (
    PatchEncoder,
    PatchFeatures,
    Reading,
    load_patch_encoder,
)
from ovbench.models.patches.timm_names import stock_names
from ovbench.models.pixelwise.neck import LEVELS, SIDE, Neck, Sizes
from ovbench.models.precision import DTYPES, frozen
from ovbench.models.weights.authors import Renaming, fitted, renamed, weights_in
from ovbench.models.weights.checkpoints import Located, locate
from ovbench.models.weights.pretrained import reading
from ovbench.models.weights.untrained import seeded, untrained

ROLE = "lseg"

HALF = (0.5, 0.5, 0.5)
"""The mean and the deviation of pixels that the released model was trained with."""

RELEASED = Sizes(width=1024, channels=(256, 512, 1024, 1024), fused=256, joint=512)
"""Of the released model, which stands on a ViT-L/16."""

# CLIP, which stays as it was released, and the classes that the backbone was first trained on.
_LEFT_OUT = ("net.clip_pretrained.", "net.pretrained.model.head.")

_ENCODER = "net.pretrained.model."  # by timm's names

# In turn, of a tensor's whole name; the authors count levels from 1.
_RENAMED: Renaming = (
    (r"^net\.pretrained\.act_postprocess(\d)\.0\.project\.0\.", r"neck.levels.\1.readout."),
    (r"^net\.pretrained\.act_postprocess(\d)\.3\.", r"neck.levels.\1.project."),
    (r"^net\.pretrained\.act_postprocess(\d)\.4\.", r"neck.levels.\1.resize."),
    (r"^net\.scratch\.layer(\d)_rn\.", r"neck.levels.\1.narrow."),
    (r"^net\.scratch\.refinenet(\d)\.resConfUnit1\.", r"neck.levels.\1.own."),
    (r"^net\.scratch\.refinenet(\d)\.resConfUnit2\.", r"neck.levels.\1.joined."),
    (r"^net\.scratch\.refinenet(\d)\.out_conv\.", r"neck.levels.\1.out."),
    (r"^net\.scratch\.head1\.", "neck.to_text."),
)


def own_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' weights by the names of an ``encoder`` and a ``neck``.

    CLIP and the classes of ImageNet are left out; what else has no place keeps its name.
    """
    kept = {name: w for name, w in weights.items() if not name.startswith(_LEFT_OUT)}
    encoder = {n.removeprefix(_ENCODER): w for n, w in kept.items() if n.startswith(_ENCODER)}
    found = {f"encoder.{name}": weight for name, weight in stock_names(encoder).items()}
    for theirs, weight in kept.items():
        if not theirs.startswith(_ENCODER):
            name = renamed(theirs, _RENAMED)
            name = re.sub(r"(?<=^neck\.levels\.)\d", lambda level: str(int(level[0]) - 1), name)
            found[name] = weight
    return found


def quarters(encoder: PatchEncoder) -> list[Reading]:
    """What a neck reads: every quarter of the blocks; of a ViT-L's, from 1, 6, 12, 18 and 24."""
    return [Reading(encoder.layers * part // LEVELS - 1) for part in range(1, LEVELS + 1)]


class LSeg:
    """A frozen encoder and a neck.

    Both compute in the runtime's precision; lengths are made equal in float32.

    Attributes:
        checkpoints: which weights these are.
        mean, std: per channel, of pixels scaled to 0..1, as the model was trained.
        side: of the squares that it was trained on, in pixels.
        multiple: of which the sides of every input are, in pixels.
        joint: how many numbers a vector has.
    """

    def __init__(
        self,
        encoder: PatchEncoder,
        neck: Neck,
        checkpoints: tuple[CheckpointRecord, ...],
        runtime: Runtime,
        *,
        side: int = 480,
        mean: Sequence[float] = HALF,
        std: Sequence[float] = HALF,
    ) -> None:
        """Put built parts together; the neck is frozen and moved in place."""
        self._encoder, self._dtype = encoder, DTYPES[runtime.precision]
        self._neck = frozen(neck, encoder.device).to(self._dtype)
        self._readings = quarters(encoder)
        self.checkpoints = checkpoints
        self.device = encoder.device
        self.side, self.mean, self.std = side, tuple(mean), tuple(std)
        self.multiple = SIDE * encoder.patch_size
        self.joint = neck.to_text.out_channels

    @torch.inference_mode()
    def embed(self, images: Tensor) -> Tensor:
        """A vector for every place.

        Args:
            images: ``(B, 3, H, W)``, normalised; H and W are multiples of :attr:`multiple`.

        Returns:
            ``(B, joint, 8 * h, 8 * w)`` float32 of unit length, for h by w patches.
        """
        found = self._encoder.read(images, *self._readings)
        readings = [PatchFeatures(*(part.to(self._dtype) for part in one)) for one in found]
        return functional.normalize(self._neck(readings).float(), dim=1)


def load_lseg(name: str, runtime: Runtime) -> LSeg:
    """Load a model.

    Args:
        name: in the catalogue, such as ``"lseg_demo_e200"``, or ``"random"`` for seeded random
            weights of the released size, which serve to measure speed.

    Raises:
        UsageError: weights that cannot be had, or are not those of such a model.
    """
    if untrained(name, runtime):
        record = CheckpointRecord(ROLE, "LSeg, random weights", None, None)
        with seeded(runtime):
            return _built(_released(), (record,), runtime)
    located = locate(ROLE, name, runtime)
    if located.path.is_dir():
        return read_folder(located, runtime)
    weights = own_names(weights_in(located.path, "state_dict"))
    return _built(fitted(_released(), weights, located.path), located.records, runtime)


def read_folder(located: Located, runtime: Runtime) -> LSeg:
    """A neck on an encoder that has its own weights: ``config.json`` and ``model.safetensors``."""
    with reading(located.path):
        config = parse(regular(located.path / "config.json").read_bytes())
        weights = load_file(regular(located.path / "model.safetensors"))
        side, sizes = config.pop("side"), Sizes(**config)
    encoder = load_backbone(runtime)
    return LSeg(
        encoder,
        fitted(Neck(sizes), weights, located.path),
        (*encoder.checkpoints, *located.records),
        runtime,
        side=side,
        mean=encoder.mean,
        std=encoder.std,
    )


def load_backbone(runtime: Runtime) -> PatchEncoder:
    """What a neck alone stands on."""
    return load_patch_encoder("dino", "dino_vitb8", runtime, "bilinear")


def _built(parts: nn.ModuleDict, records: tuple[CheckpointRecord, ...], runtime: Runtime) -> LSeg:
    encoder = PatchEncoder(parts["encoder"], records, runtime, "bilinear")
    return LSeg(encoder, cast(Neck, parts["neck"]), records, runtime)


def _released() -> nn.ModuleDict:
    """A new encoder and a new neck of the size that was released."""
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=RELEASED.width,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4 * RELEASED.width,
        image_size=384,
        patch_size=16,
        layer_norm_eps=1e-6,  # timm's, on which the released model stands
    )
    encoder = ViTModel(config, add_pooling_layer=False)
    return nn.ModuleDict({"encoder": encoder, "neck": Neck(RELEASED)})
