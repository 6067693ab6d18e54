"""The feature spaces in which prototypes and pixels are compared (paper, section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from ovbench.adapters.ovdiff.settings import ExtractorName, OVDiffSettings, ReadingRule
from ovbench.adapters.ovdiff.windows import lanczos, size_within
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.clip.model import CLIP
from ovbench.models.diffusion.model import Diffusion, load_diffusion
from ovbench.models.patches.encoder import PatchEncoder, load_patch_encoder
from ovbench.models.patches.positions import Positions
from ovbench.models.pixels.inputs import IMAGENET_MEAN, IMAGENET_STD, fit_size, input_tensor

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
                nor very narrow. Extractors that squash pictures have no use for it, nor has the
                released code's rule, by which that side is the natural one.

        Returns:
            ``(B, D, h, w)`` float32.
        """
        ...

    def of_support(self, images: Sequence[Image]) -> Tensor:
        """Features of whole support pictures, as :meth:`features` returns them."""
        ...


@dataclass(frozen=True, slots=True)
class Eye:
    """How pictures become a model's input.

    Attributes:
        mean, std: per channel, of pixels scaled to 0..1.
        released: resize as the released code does, bilinearly between the nearest four pixels.
    """

    mean: Sequence[float]
    std: Sequence[float]
    device: torch.device
    released: bool

    def see(self, images: Sequence[Image], size: tuple[int, int]) -> Tensor:
        """Pictures resized to a height and a width, ``(B, 3, height, width)``."""
        return torch.stack([self._see(image, size) for image in images])

    def _see(self, image: Image, size: tuple[int, int]) -> Tensor:
        return input_tensor(
            image, size, mean=self.mean, std=self.std, device=self.device,
            mode="bilinear" if self.released else "bicubic", antialias=not self.released,
        )  # fmt: skip


class DiffusionFeatures:
    """Queries of a U-Net's cross-attention on the slightly noisy picture, with an empty prompt."""

    def __init__(self, model: Diffusion, settings: OVDiffSettings, seed: int) -> None:
        self._model, self._timestep, self._seed = model, settings.sd_timestep, seed
        known = _attention_layers()
        if wrong := [layer for layer in settings.sd_layers if not 0 <= layer < len(known)]:
            raise UsageError(f"sd_layers: no layer {wrong[0]}; there are 0..{len(known) - 1}")
        self._modules = [known[layer] for layer in settings.sd_layers]
        released = settings.reading_rule == "released_code"
        self._eye = Eye(model.mean, model.std, model.device, released)
        self.checkpoints = model.checkpoints
        self.natural_side = round(model.image_size * _OF_SD)
        self.reading: Mapping[str, Any] = {
            "layers": list(settings.sd_layers), "timestep": self._timestep, "seed": seed,
            "rule": settings.reading_rule,
        }  # fmt: skip

    def features(self, images: Sequence[Image], unit: int) -> Tensor:
        """See :class:`Extractor`; all layers enlarged to the grid of the latents and joined.

        The noise is the same for every picture. The released code draws it anew for each test
        image; an answer here does not depend on what was asked before.
        """
        return self._read(images, repeat_noise=False)

    def of_support(self, images: Sequence[Image]) -> Tensor:
        """See :class:`Extractor`; the released code begins its seed anew for the second noise."""
        return self._read(images, repeat_noise=self._eye.released)

    def _read(self, images: Sequence[Image], *, repeat_noise: bool) -> Tensor:
        model = self._model
        pixels = self._eye.see(images, (model.image_size, model.image_size))
        try:
            found = model.features(
                pixels,
                self._modules,
                timestep=self._timestep,
                seed=self._seed,
                sample_latents=True,
                repeat_noise=repeat_noise,
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


class TransformerFeatures:
    """Patches of a vision transformer; what DINO, MAE and CLIP have in common.

    By the released code's rule a test picture is not rounded to whole patches, and what is left
    of one is not seen; a support picture is read in its own size.
    """

    def __init__(self, eye: Eye, side: int, patch: int, *, squash: bool) -> None:
        """Where nothing is squashed, pictures keep their shape as far as patches allow."""
        self._eye, self._patch, self._squash = eye, patch, squash
        self.natural_side = side

    def features(self, images: Sequence[Image], unit: int) -> Tensor:
        """See :class:`Extractor`."""
        height, width = images[0].shape[:2]
        return self._read(images, self._size((height, width), unit))

    def of_support(self, images: Sequence[Image]) -> Tensor:
        """See :class:`Extractor`."""
        height, width = images[0].shape[:2]
        if not self._eye.released:
            return self.features(images, min(height, width))
        size = fit_size(
            (height, width),
            short_side=min(height, width),
            max_long_side=max(height, width),
            multiple=self._patch,
        )
        return self._read([lanczos(image, size) for image in images], size)

    def _size(self, size: tuple[int, int], unit: int) -> tuple[int, int]:
        side, longest = self.natural_side, round(self.natural_side * _LONGEST)
        if self._squash:
            return side, side
        if not self._eye.released:
            short = round(min(size) * side / unit)
            return fit_size(size, short_side=short, max_long_side=longest, multiple=self._patch)
        return size if max(size) <= side else size_within(size, side, longest)

    def _read(self, images: Sequence[Image], size: tuple[int, int]) -> Tensor:
        height, width = (max(1, side // self._patch) * self._patch for side in size)
        return self._encode(self._eye.see(images, size)[..., :height, :width])

    def _encode(self, pixels: Tensor) -> Tensor:
        """``(B, 3, H, W)`` of whole patches to ``(B, D, h, w)``."""
        raise NotImplementedError


class PatchFeatures(TransformerFeatures):
    """Keys of the last attention of a self-supervised vision transformer; DINO or MAE."""

    def __init__(
        self,
        model: PatchEncoder,
        rule: ReadingRule = "resampled",
        *,
        squash: bool = False,
        scale: float = _OF_VIT,
    ) -> None:
        """Read a model's patches.

        Args:
            scale: the natural side over that which the model was trained on.
        """
        eye = Eye(model.mean, model.std, model.device, rule == "released_code")
        super().__init__(eye, round(model.image_size * scale), model.patch_size, squash=squash)
        self._model = model
        self.checkpoints = model.checkpoints
        self.reading: Mapping[str, Any] = {
            "layer": -1, "facet": "key", "side": self.natural_side, "rule": rule
        }  # fmt: skip

    def _encode(self, pixels: Tensor) -> Tensor:
        return self._model.features(pixels, facet="key")


class CLIPFeatures(TransformerFeatures):
    """Keys of CLIP's image transformer, of the last block but one by default."""

    def __init__(self, model: CLIP, settings: OVDiffSettings) -> None:
        own, rule = settings.clip_normalisation == "clip", settings.reading_rule
        mean, std = (model.mean, model.std) if own else (IMAGENET_MEAN, IMAGENET_STD)
        eye = Eye(mean, std, model.device, rule == "released_code")
        super().__init__(eye, round(model.image_size * _OF_VIT), model.stride, squash=True)
        self._model, self._positions = model, _positions(rule)
        self._layer, self._facet = settings.clip_layer, settings.clip_facet
        self.checkpoints: tuple[CheckpointRecord, ...] = (model.checkpoint,)
        self.reading: Mapping[str, Any] = {
            "layer": self._layer, "facet": self._facet, "side": self.natural_side,
            "normalisation": settings.clip_normalisation, "rule": rule,
        }  # fmt: skip

    def _encode(self, pixels: Tensor) -> Tensor:
        model = self._model
        try:
            return model.patch_features(pixels, self._layer, self._facet, self._positions)
        except IndexError:
            raise UsageError(
                f"clip_layer={self._layer}: {model.checkpoint.name} has fewer"
            ) from None


def _positions(rule: ReadingRule) -> Positions:
    return "dino" if rule == "released_code" else "exact"


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
        rule = settings.reading_rule
        model_name = settings.dino_model if name == "dino" else settings.mae_model
        encoder = load_patch_encoder("dino", model_name, runtime, _positions(rule))
        if name == "mae":
            return PatchFeatures(encoder, rule, squash=True, scale=settings.mae_scale)
        return PatchFeatures(encoder, rule)
