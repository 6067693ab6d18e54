"""What images are compared by: any of the encoders of the paper's table 3."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from ovbench.adapters.rim.settings import WEIGHTS, RIMSettings
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.clip.model import load_clip
from ovbench.models.diffusion.model import load_diffusion
from ovbench.models.patches.encoder import load_patch_encoder
from ovbench.models.pixels.inputs import Normalised


@dataclass(frozen=True, slots=True, eq=False)
class DenseEncoder:
    """A frozen encoder, read at one place.

    Attributes:
        model: says how its input is normalised.
        read: from ``(B, 3, H, W)``, normalised, to features ``(B, D, h, w)`` float32.
        cell: H and W are multiples of it.
        image_size: the side in pixels of the square images it was trained on.
        checkpoints: which weights these are.
    """

    model: Normalised
    read: Callable[[Tensor], Tensor]
    cell: int
    image_size: int
    checkpoints: tuple[CheckpointRecord, ...]


def load_encoder(settings: RIMSettings, runtime: Runtime) -> DenseEncoder:
    """Load the encoder that the settings name.

    Raises:
        UsageError: weights that cannot be had, or that have no such features.
    """
    if settings.features == "clip":
        return _clip(settings, runtime)
    if settings.features == "stable_diffusion":
        return _diffusion(settings, runtime)
    return _transformer(settings, runtime)


def _transformer(settings: RIMSettings, runtime: Runtime) -> DenseEncoder:
    if settings.features == "mae":
        model = load_patch_encoder("dino", WEIGHTS["mae"].partition("/")[2], runtime)
    else:
        model = load_patch_encoder("dinov2", settings.dinov2, runtime)
    read = partial(model.features, layer=settings.layer, facet=settings.facet)
    return DenseEncoder(model, read, model.patch_size, model.image_size, model.checkpoints)


def _clip(settings: RIMSettings, runtime: Runtime) -> DenseEncoder:
    model = load_clip(settings.clip_architecture, settings.clip_pretrained, runtime)
    read = partial(model.patch_features, layer=settings.layer, facet=settings.facet)
    return DenseEncoder(model, read, model.stride, model.image_size, (model.checkpoint,))


def _diffusion(settings: RIMSettings, runtime: Runtime) -> DenseEncoder:
    model = load_diffusion(settings.diffusion, runtime)

    def read(images: Tensor) -> Tensor:
        # Without a prompt (paper, section 4.4: "unconditional settings").
        found = model.features(
            images,
            (settings.unet_module,),
            timestep=settings.unet_timestep,
            seed=runtime.seed,
        )
        return found[settings.unet_module]

    return DenseEncoder(model, read, model.cell, model.image_size, model.checkpoints)
