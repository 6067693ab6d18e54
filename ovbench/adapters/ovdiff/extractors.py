"""The feature spaces in which prototypes and pixels are compared (paper, section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from ovbench.errors import UsageError
from ovbench.harness.protocol import CheckpointRecord, Image, Runtime
from ovbench.models.clip import CLIP
from ovbench.models.diffusion import Diffusion, load_diffusion
from ovbench.models.images import IMAGENET_MEAN, IMAGENET_STD, fit_size, input_tensor, squashed
from ovbench.models.patch_encoder import PatchEncoder, load_patch_encoder

if TYPE_CHECKING:
    from ovbench.adapters.ovdiff.settings import OVDiffSettings

ExtractorName: TypeAlias = Literal["sd", "dino", "clip", "mae"]

# Sizes of the released code over those that its models were trained on.
_OF_SD = 448 / 512
_OF_VIT = 448 / 224
_LONGEST = 800 / 448  # of the shorter side, for DINO


class Extractor(Protocol):
    """One feature space.

    Attributes:
        checkpoints: the weights behind it.
        natural_side: shorter side of an image, in pixels, that suits it.
        reading: what else decides its features, JSON-ready.
    """

    checkpoints: tuple[CheckpointRecord, ...]
    natural_side: int
    reading: Mapping[str, Any]

    def features(self, images: Sequence[Image], unit: int) -> Tensor:
        """Features of pictures of one size.

        Args:
            images: ``(H, W, 3)`` uint8 each.
            unit: how many of their pixels are the shorter side of an image that is neither cut
                nor very narrow. Extractors that squash pictures have no use for it.

        Returns:
            ``(B, D, h, w)`` float32.
        """
        ...


class DiffusionFeatures:
    """Queries of a U-Net's cross-attention on the slightly noisy picture, with an empty prompt."""

    def __init__(self, model: Diffusion, settings: OVDiffSettings, seed: int) -> None:
        self._model, self._timestep, self._seed = model, settings.sd_timestep, seed
        known = _attention_layers()
        if wrong := [layer for layer in settings.sd_layers if not 0 <= layer < len(known)]:
            raise UsageError(f"sd_layers: no layer {wrong[0]}; there are 0..{len(known) - 1}")
        self._modules = [known[layer] for layer in settings.sd_layers]
        self.checkpoints = model.checkpoints
        self.natural_side = round(model.image_size * _OF_SD)
        self.reading: Mapping[str, Any] = {
            "layers": list(settings.sd_layers), "timestep": self._timestep, "seed": seed
        }  # fmt: skip

    def features(self, images: Sequence[Image], unit: int) -> Tensor:
        """See :class:`Extractor`; all layers enlarged to the grid of the latents and joined.

        The noise is the same for every picture. The released code draws it anew for each test
        image; an answer here does not depend on what was asked before.
        """
        model = self._model
        pixels = squashed(model, images, model.image_size)
        try:
            found = model.features(
                pixels,
                self._modules,
                timestep=self._timestep,
                seed=self._seed,
                sample_latents=True,
            )
        except ValueError as error:
            raise UsageError(f"{model.checkpoints[0].name}: {error}") from None
        side = model.image_size // model.cell
        return torch.cat([_enlarged(maps, side) for maps in found.values()], dim=1)


def _attention_layers() -> list[str]:
    """The cross-attention layers of Stable Diffusion 1.x in the order of a forward pass."""
    blocks = [f"down_blocks.{i}.attentions.{j}" for i in range(3) for j in range(2)]
    blocks += ["mid_block.attentions.0"]
    blocks += [f"up_blocks.{i}.attentions.{j}" for i in range(1, 4) for j in range(3)]
    return [f"{block}.transformer_blocks.0.attn2.to_q" for block in blocks]


def _enlarged(maps: Tensor, side: int) -> Tensor:
    return functional.interpolate(maps, (side, side), mode="bilinear", align_corners=False)


class PatchFeatures:
    """Keys of the last attention of a self-supervised vision transformer; DINO or MAE."""

    def __init__(self, model: PatchEncoder) -> None:
        self._model = model
        self.checkpoints = model.checkpoints
        self.natural_side = round(model.image_size * _OF_VIT)
        self.reading: Mapping[str, Any] = {"layer": -1, "facet": "key", "side": self.natural_side}

    def features(self, images: Sequence[Image], unit: int) -> Tensor:
        """See :class:`Extractor`; pictures keep their shape as far as patches allow."""
        model, scale = self._model, self.natural_side / unit
        height, width = images[0].shape[:2]
        size = fit_size(
            (height, width),
            short_side=round(min(height, width) * scale),
            max_long_side=round(self.natural_side * _LONGEST),
            multiple=model.patch_size,
        )
        pixels = [_normalised(image, size, model.mean, model.std, model.device) for image in images]
        return model.features(torch.stack(pixels), facet="key")


class CLIPFeatures:
    """Keys of CLIP's image transformer, of the last block but one by default."""

    def __init__(self, model: CLIP, settings: OVDiffSettings) -> None:
        self._model = model
        self._layer, self._facet = settings.clip_layer, settings.clip_facet
        own = settings.clip_normalisation == "clip"
        self._mean = model.mean if own else IMAGENET_MEAN
        self._std = model.std if own else IMAGENET_STD
        self.checkpoints: tuple[CheckpointRecord, ...] = (model.checkpoint,)
        self.natural_side = round(model.image_size * _OF_VIT)
        self.reading: Mapping[str, Any] = {
            "layer": self._layer, "facet": self._facet, "side": self.natural_side,
            "normalisation": settings.clip_normalisation,
        }  # fmt: skip

    def features(self, images: Sequence[Image], unit: int) -> Tensor:
        """See :class:`Extractor`; pictures are squashed to a square."""
        model, size = self._model, (self.natural_side, self.natural_side)
        pixels = [_normalised(image, size, self._mean, self._std, model.device) for image in images]
        try:
            return model.patch_features(torch.stack(pixels), self._layer, self._facet)
        except IndexError:
            raise UsageError(
                f"clip_layer={self._layer}: {model.checkpoint.name} has fewer"
            ) from None


def _normalised(
    image: Image,
    size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    device: torch.device,
) -> Tensor:
    return input_tensor(image, size, mean=mean, std=std, mode="bicubic", device=device)


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads what the settings ask for; the CLIP is shared with the category filter."""

    settings: OVDiffSettings
    runtime: Runtime
    clip: CLIP | None

    def load(self, name: ExtractorName) -> Extractor:
        """Load one extractor."""
        settings, runtime = self.settings, self.runtime
        if name == "sd":
            # The released code seeds sampling with 42 and features with 43.
            model = load_diffusion(settings.sd_model, runtime)
            return DiffusionFeatures(model, settings, runtime.seed + 1)
        if name == "clip":
            assert self.clip is not None
            return CLIPFeatures(self.clip, settings)
        model_name = settings.dino_model if name == "dino" else settings.mae_model
        return PatchFeatures(load_patch_encoder("dino", model_name, runtime))
