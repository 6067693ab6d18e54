"""What reads a picture place by place beside Stable Diffusion: DINOv2, or one of table 7's."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from ovbench.adapters.ipseg.settings import IPSegSettings
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.clip.model import CLIP, load_clip
from ovbench.models.patches.encoder import load_patch_encoder
from ovbench.models.patches.positions import Positions
from ovbench.models.pixels.inputs import Normalised


class Encoder(Normalised, Protocol):
    """A frozen vision transformer, such as a :class:`~ovbench.models.patches.encoder.PatchEncoder`.

    Attributes:
        checkpoints: which weights these are.
        patch_size: pixels per patch, along both axes.
    """

    checkpoints: tuple[CheckpointRecord, ...]
    patch_size: int

    def features(self, images: Tensor) -> Tensor:
        """Tokens behind the last block, without the final normalisation.

        Args:
            images: ``(B, 3, H, W)``, normalised; H and W multiples of :attr:`patch_size`.

        Returns:
            ``(B, d, h, w)`` float32.
        """
        ...


class CLIPEncoder:
    """CLIP's image tower, read as DINOv2 is. Attributes: see :class:`Encoder`."""

    def __init__(self, model: CLIP, positions: Positions) -> None:
        """Read a model's patches.

        Args:
            positions: see :func:`~ovbench.models.patches.positions.resize_positions`.
        """
        self._model, self._positions = model, positions
        self.checkpoints: tuple[CheckpointRecord, ...] = (model.checkpoint,)
        self.mean, self.std, self.device = model.mean, model.std, model.device
        self.patch_size = model.stride

    def features(self, images: Tensor) -> Tensor:
        """See :class:`Encoder`."""
        return self._model.patch_features(images, positions=self._positions)


def load_encoder(settings: IPSegSettings, runtime: Runtime) -> Encoder | None:
    """What the settings name, or None where Stable Diffusion is alone.

    Raises:
        UsageError: weights that cannot be had, or a CLIP that is no plain vision transformer.
    """
    positions = settings.positions
    if settings.features == "sd":
        return None
    if settings.features == "clip":
        clip = load_clip(settings.clip_architecture, settings.clip_pretrained, runtime)
        return CLIPEncoder(clip, positions)
    if settings.features == "mae":
        return load_patch_encoder("dino", settings.mae, runtime, positions)
    return load_patch_encoder("dinov2", settings.dinov2, runtime, positions)
