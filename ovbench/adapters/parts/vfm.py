"""Vision foundation models as patch features of windows that were normalised for another model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

import torch
from torch import Tensor
from torch.nn import functional

from ovbench.errors import UsageError
from ovbench.harness.contract.card import RANDOM
from ovbench.harness.contract.checks.nearest import nearest
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.diffusion.model import Diffusion, load_diffusion
from ovbench.models.patches.encoder import PatchEncoder, Reading, load_patch_encoder
from ovbench.models.patches.positions import Positions
from ovbench.models.pixels.inputs import IMAGENET_MEAN, IMAGENET_STD
from ovbench.models.radio.model import Radio, load_radio
from ovbench.models.sam.model import Sam, load_sam

VFMReading: TypeAlias = Literal["tokens", "query_key"]
"""The last block's tokens behind the final normalisation, or the sum of its queries and keys with
all heads concatenated, as CorrCLIP takes it."""

Role: TypeAlias = Literal["dino", "dinov2", "radio", "sam", "stable_diffusion"]

WEIGHTS: Mapping[str, str] = {
    "dino_vits16": "dino/dino_vits16",
    "dino_vits8": "dino/dino_vits8",
    "dino_vitb16": "dino/dino_vitb16",
    "dino_vitb8": "dino/dino_vitb8",
    "dinov2_registers_base": "dinov2/dinov2_registers_base",
    "dinov2_registers_large": "dinov2/dinov2_registers_large",
    "dinov3_vitb16": "dinov2/dinov3_vitb16",
    "dinov3_vitl16": "dinov2/dinov3_vitl16",
    "mae_vit_base": "dino/mae_vit_base",
    "c_radio_v3_b": "radio/c_radio_v3_b",
    "c_radio_v3_l": "radio/c_radio_v3_l",
    "sam_vit_b": "sam/sam_vit_b",
    "sam_vit_l": "sam/sam_vit_l",
    "stable_diffusion_v1_5": "stable_diffusion/stable_diffusion_v1_5",
}
"""What was tried, by its name in the catalogue."""

UNET_BLOCK = 9
"""Of Stable Diffusion's blocks on the way up: ProxyCLIP's appendix has "block 9". Counted from one,
and read before the enlargement behind it, which is our reading, it has at the appendix's 672 pixels
the 42 x 42 places that DINO ViT-B/8 has in a window of 336. Counted from zero it has 84 x 84."""

UNET_SCALE = 2
"""How much larger a window is made for Stable Diffusion: the appendix has 672 pixels, which is this
for the windows of 336 that the released code has. That other windows grow alike is our choice."""


# How positions come to another grid of patches, as its authors have it. DINOv3 has rotary ones, and
# SAM a grid of its own.
_POSITIONS: Mapping[str, Positions] = {
    "dinov2_registers_base": "antialias",
    "dinov2_registers_large": "antialias",
    "dinov3_vitb16": "exact",
    "dinov3_vitl16": "exact",
    "mae_vit_base": "exact",
}

_READ_IN_ONE_PLACE: Mapping[Role, str] = {
    "radio": "its last block",
    "sam": "its neck",
    "stable_diffusion": f"block {UNET_BLOCK} of its U-Net",
}


@dataclass(frozen=True)
class VFM:
    """A vision foundation model.

    Attributes:
        checkpoints: which weights these are.
        patch_size: pixels per feature along both axes; what a side has over a multiple of it is
            not seen. 1 where windows are stretched over a grid of the model's own.
        features: from windows ``(B, 3, H, W)``, normalised as they were said to be, to
            ``(B, C, h, w)`` float32, not L2-normalised.
    """

    checkpoints: tuple[CheckpointRecord, ...]
    patch_size: int
    features: Callable[[Tensor], Tensor]


def load_vfm(
    name: str,
    runtime: Runtime,
    reading: VFMReading = "tokens",
    *,
    mean: Sequence[float],
    std: Sequence[float],
) -> VFM:
    """Load a vision foundation model.

    Args:
        name: one of :data:`WEIGHTS`, ``"random"``, or a hub id of a model that is read as DINO's
            are.
        runtime: its ``checkpoints`` decide whether it is this one or what stands for its role.
        mean, std: per channel, how windows come normalised; the model gets ImageNet's instead.

    Raises:
        UsageError: an unknown name, queries and keys of RADIO, SAM or Stable Diffusion, a U-Net
            with too few blocks, or weights that cannot be had.
    """
    role = _role(name)
    if role in _READ_IN_ONE_PLACE and reading == "query_key":
        place = _READ_IN_ONE_PLACE[role]
        raise UsageError(f"{name} is read behind {place}; query_key goes with the others")
    if role == "radio":
        return of_radio(load_radio(name, None, runtime), mean, std)
    if role == "sam":
        return of_sam(load_sam(name, runtime), mean, std)
    if role == "stable_diffusion":
        return of_diffusion(load_diffusion(name, runtime), mean, std)
    return of_encoder(encoder_of(name, runtime), reading, mean, std)


def encoder_of(name: str, runtime: Runtime) -> PatchEncoder:
    """A vision foundation model that encodes patches, with positions as its authors have them.

    Args:
        name: as :func:`load_vfm` takes it, of DINO's kind.

    Raises:
        UsageError: an unknown name, a model of another kind, or weights that cannot be had.
    """
    role = _role(name)
    if role in _READ_IN_ONE_PLACE:
        known = [one for one, place in WEIGHTS.items() if place.startswith(("dino/", "dinov2/"))]
        raise UsageError(f"{name}: is no encoder of patches; there are {', '.join(known)}")
    kind = cast(Literal["dino", "dinov2"], role)
    return load_patch_encoder(kind, name, runtime, _POSITIONS.get(name, "dino"))


def _role(name: str) -> Role:
    known = (*WEIGHTS, RANDOM)
    if name not in known and "/" not in name:
        hint = nearest(name, known)
        raise UsageError(f"no vision foundation model {name!r}; {hint}, or a hub id owner/name")
    return cast(Role, WEIGHTS.get(name, "dino/").partition("/")[0])


def of_radio(radio: Radio, mean: Sequence[float], std: Sequence[float]) -> VFM:
    """RADIO's features of places, on its own grid of patches over a window."""
    patch = radio.patch_size

    def features(windows: Tensor) -> Tensor:
        height, width = (side // patch * patch for side in windows.shape[-2:])
        pixels = shown(windows[..., :height, :width], mean, std)
        return radio.features(with_statistics(pixels, radio.mean, radio.std))

    return VFM(radio.checkpoints, patch, features)


def of_sam(sam: Sam, mean: Sequence[float], std: Sequence[float]) -> VFM:
    """SAM behind its neck, every window stretched over its square input."""
    return VFM(sam.checkpoints, 1, lambda windows: sam.features(renormalised(windows, mean, std)))


def of_diffusion(model: Diffusion, mean: Sequence[float], std: Sequence[float]) -> VFM:
    """Stable Diffusion's U-Net at :data:`UNET_BLOCK`, of windows without noise and without words.

    Windows are enlarged :data:`UNET_SCALE` times, up to whole latents, and encoded one after the
    other: at 672 pixels the image encoder's first layers take 0.2 GB each in float32.

    Raises:
        UsageError: the U-Net has fewer blocks.
    """
    blocks = model.output_blocks
    if len(blocks) < UNET_BLOCK:
        raise UsageError(
            f"{model.checkpoints[0].name}: block {UNET_BLOCK} of the U-Net is read, and this one "
            f"has {len(blocks)} on its way up"
        )
    block = blocks[UNET_BLOCK - 1]

    def features(windows: Tensor) -> Tensor:
        height, width = (
            -(-UNET_SCALE * side // model.cell) * model.cell for side in windows.shape[-2:]
        )
        images = functional.interpolate(shown(windows, mean, std), (height, width), mode="bilinear")
        images = with_statistics(images, model.mean, model.std)
        found = [
            model.features(one, [block], timestep=0, seed=None) for one in torch.split(images, 1)
        ]
        return torch.cat([one[block] for one in found])

    return VFM(model.checkpoints, 1, features)


def of_encoder(
    encoder: PatchEncoder, reading: VFMReading, mean: Sequence[float], std: Sequence[float]
) -> VFM:
    """A patch encoder, on its own grid of patches over a window."""
    patch = encoder.patch_size

    def features(windows: Tensor) -> Tensor:
        height, width = (side // patch * patch for side in windows.shape[-2:])
        images = renormalised(windows[..., :height, :width], mean, std)
        if reading == "tokens":
            return encoder.features(images, norm=True)
        query, key = encoder.read(images, Reading(facet="query"), Reading(facet="key"))
        return query.patches + key.patches

    return VFM(encoder.checkpoints, patch, features)


def renormalised(windows: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Windows ``(B, 3, H, W)`` normalised with ``mean`` and ``std``, with ImageNet's instead."""
    return for_imagenet(shown(windows, mean, std))


def shown(windows: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """The pixels, in 0..1, of windows ``(B, 3, H, W)`` normalised with ``mean`` and ``std``."""
    return windows * _channels(std, windows) + _channels(mean, windows)


def for_imagenet(pixels: Tensor) -> Tensor:
    """Pixels in 0..1 normalised with ImageNet's statistics."""
    return with_statistics(pixels, IMAGENET_MEAN, IMAGENET_STD)


def with_statistics(pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Pixels in 0..1 normalised with ``mean`` and ``std`` per channel."""
    return (pixels - _channels(mean, pixels)) / _channels(std, pixels)


def _channels(values: Sequence[float], like: Tensor) -> Tensor:
    return like.new_tensor(values)[:, None, None]
