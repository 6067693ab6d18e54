"""TextRegion: what a CLIP pools is pooled over every region, which is then named as a whole.

Xiao et al., "TextRegion: Text-Aligned Region Tokens from Frozen Image-Text Models", TMLR 2025;
released code: github.com/avaxiao/TextRegion, model_semantic.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from ovbench.adapters.dense_clip.sclip import correlative
from ovbench.adapters.parts.candidates import pairs
from ovbench.adapters.parts.dense_clip import WINDOWS_AT_A_TIME, DenseCLIP, DenseCLIPSettings
from ovbench.adapters.parts.published import eight
from ovbench.adapters.parts.sliding import by_window
from ovbench.adapters.regional.settings import RegionSettings, generator_of
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import FACTOR, SIDE, setting
from ovbench.harness.contract.stages import stage
from ovbench.models.clip.last_block import attend
from ovbench.models.clip.trunk import Trunk, on_grid
from ovbench.models.pixels.scores import Scores
from ovbench.models.regions.maps import MaskArray
from ovbench.models.regions.store import Masks, Regions

_CODE = "released code, model_semantic.py"
_CONFIG = "released code, configs/base_config.py"


@dataclass(frozen=True)
class TextRegionSettings(RegionSettings, DenseCLIPSettings):
    """Settings of :class:`TextRegion`."""

    short_side: int | None = setting(
        None,
        "released code, configs/cfg_ds: 672, for views of 336; Cityscapes 1344, COCO-Stuff 896",
        "shorter side of the input in pixels; none is 3 times the CLIP's training size",
        most=SIDE,
    )
    max_long_side: int = setting(
        2016, "released code, configs/cfg_ds: scale=(2016, 672)", "limit of its longer side",
        most=SIDE,
    )  # fmt: skip
    window: int | None = setting(
        None,
        f"{_CONFIG}, crop_size: 336 for all CLIPs; SigLIP 2 and PE have their own size",
        "side of the square that each view is brought to; none is 1.5 times the CLIP's training "
        "size, and that size itself of one that pools by attention",
        most=SIDE,
    )
    logit_scale: float = setting(
        50.0, f"{_CODE}, region_logit_scale", "factor before the softmax over queries", most=FACTOR
    )
    points_per_side: int = setting(
        16, _CONFIG, "on the grids: of points along a side", least=1, most=256
    )
    predicted_iou: float = setting(
        0.6, _CONFIG, "on the grids: masks whose predicted IoU is not above it are dropped", least=0
    )
    stability: float = setting(
        0.6, _CONFIG, "on the grids: masks whose stability is below it are dropped", least=0, most=1
    )
    box_overlap: float = setting(
        0.9, _CONFIG, "on the grids: of masks whose boxes have a higher IoU one is kept", least=0,
        most=1,
    )  # fmt: skip
    least_share: float = setting(
        100 / 256**2,
        "released code, custom_automatic_mask_generator.py, min_size: 100 of SAM 2's 256x256",
        "masks with no more than this share of the picture are dropped",
        least=0,
        most=1,
    )
    fuse: bool = setting(
        True, f"{_CONFIG}, fuse_mask", "join masks of which one holds most of the other"
    )
    containment: float = setting(
        0.8,
        f"{_CONFIG}, fuse_mask_threshold",
        "share of the smaller of two masks that both must have, to be joined",
        least=0,
        most=1,
    )
    remove_global: bool = setting(
        True,
        f"{_CONFIG}, remove_global_patch",
        "patches that are no more like their regions than like others take no part",
    )
    global_threshold: float = setting(
        0.07, f"{_CONFIG}, global_patch_threshold", "how much more they must be, in cosines",
        least=-2, most=2,
    )  # fmt: skip
    halves: bool = setting(
        False,
        f"{_CODE}: for Cityscapes",
        "the whole picture is seen as its left and its right half",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pamr_iterations or self.area_share:
            raise ValueError("pamr_iterations and area_share must be 0: regions have one answer")
        if self.window == 0:
            raise ValueError("window must be positive: every view is a square")


class TextRegion(DenseCLIP):
    """A pixel has the sum of its regions' scores, and SCLIP's where no region is.

    CLIP's values are summed up over a region. SigLIPs and Perception Encoders pool by attention,
    which is made uniform over a region's patches; they say nothing of pixels without a region.
    """

    card: ClassVar[MethodCard] = MethodCard(
        summary="TextRegion: CLIP's values pooled over SAM 2's regions",
        kind="training-free",
        paper="Xiao et al., TMLR",
        year=2025,
        backbones=("CLIP", "SAM 2"),
        weights=("clip/ViT-B-16 openai", "sam/sam2.1_hiera_large"),
        code_licence="mit",
    )
    Settings = TextRegionSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # The released code's other image-text models at its other settings, but for a benchmark's.
        "siglip2": {
            "architecture": "ViT-L-16-SigLIP2-256",
            "pretrained": "webli",
            "short_side": 672,
        },
        "perception_encoder": {
            "architecture": "PE-Core-L-14-336",
            "pretrained": "meta",
            "short_side": 672,
        },
    }
    published: ClassVar[Sequence[Published]] = eight(
        names={
            "voc21": "proxyclip",
            "cocoobject": "proxyclip",
            "voc20": "plain",
            "context60": "plain",
            "context59": "plain",
            "cocostuff": "sclip",
            "ade20k": "sclip",
            "cityscapes": "sclip",
        },
        source="released code, configs/",
        common={"short_side": 672},
        voc21={"max_long_side": 1008, "background_threshold": 0.4},
        context60={"background_threshold": 0.35},
        cocoobject={"background_threshold": 0.5},
        voc20={},
        context59={},
        cocostuff={"short_side": 896, "max_long_side": 1334},
        ade20k={},
        cityscapes={
            "short_side": 1344,
            "max_long_side": 2688,
            "points_per_side": 36,
            "halves": True,
        },
    )
    SIZES: ClassVar[Mapping[str, float]] = {"short_side": 3, "window": 1.5, "window_stride": 0.5}
    settings: TextRegionSettings

    def __init__(self, settings: TextRegionSettings, runtime: Runtime) -> None:
        super().__init__(settings, runtime)
        sigmoid = self.clip.pool is not None and self.clip.logit_bias is not None
        self._factor = self.clip.logit_scale if sigmoid else 1.0
        self.regions = Regions(generator_of(settings), runtime)
        self.checkpoints += self.regions.checkpoints

    def _refuse_tower(self) -> None:
        if self.clip.pool is None:
            super()._refuse_tower()

    def _sizes(self) -> Mapping[str, float]:
        return self.SIZES if self.clip.pool is None else {**self.SIZES, "window": 1}

    def features(self, windows: Tensor) -> Tensor:
        """See :class:`~ovbench.adapters.parts.dense_clip.DenseCLIP`; for pixels of no region."""
        return attend(self._trunk(windows), correlative, residual=True, mlp=True)[0]

    @torch.inference_mode()
    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """See :class:`~ovbench.Segmenter`; views of all images go in together."""
        masks = self.regions.masks(images)
        with stage("preprocess"):
            inputs = [self._input(image) for image in images]
            grids = [crops_of(one, self._pixels("window")) for one in inputs]
            views = [self._views(*one) for one in zip(inputs, grids, strict=True)]
        with stage("encode"):
            found = by_window(views, self._read, WINDOWS_AT_A_TIME)
        answers = []
        for i, (image, chosen) in enumerate(pairs(images, candidates)):
            values, *dense = (self.joined(one, grids[i]) for one in found[i])
            with stage("pool"):
                kept = self._kept(masks[i])
                scores, kept = self._named(values, kept)
            unnamed = dense[0][0] if dense else values.new_zeros(len(self.text), 1, 1)
            free = Scores.enlarged(unnamed, (image.shape[0], image.shape[1]))
            labels = self._answer(free, inputs[i], chosen)
            if len(kept):
                sums, place = self._sums(scores, kept)
                on_regions = self._answer(Scores(sums[..., None]), inputs[i], chosen)[:, 0]
                labels = np.where(kept.any(axis=0), on_regions[place], labels)
            answers.append(labels)
        return answers

    def _trunk(self, windows: Tensor) -> Trunk:
        return self.clip.trunk(windows, positions=self.settings.positions)

    def _read(self, windows: Tensor) -> tuple[Tensor, ...]:
        """Values ``(B, width, h, w)`` and scores ``(B, Q, h, w)`` of patches; or what is pooled."""
        if self.clip.pool is not None:
            return (self.clip.pool.tokens(windows),)
        trunk = self._trunk(windows)
        dense, _ = attend(trunk, correlative, residual=True, mlp=True)
        return values_of(trunk), self.compared(dense)

    def _views(self, pixels: Tensor, grid: tuple[int, int]) -> Tensor:
        """The whole or its halves, then crops row by row, as squares ``(n, 3, s, s)``."""
        _, height, width = pixels.shape
        middle = width // 2
        parts = [pixels]
        if self.settings.halves and middle:
            parts = [pixels[..., :middle], pixels[..., middle:]]
        tall, wide = -(-height // grid[0]), -(-width // grid[1])
        for row, column in product(range(grid[0]), range(grid[1])):
            bottom, right = min((row + 1) * tall, height), min((column + 1) * wide, width)
            top, left = max(bottom - tall, 0), max(right - wide, 0)
            parts.append(pixels[:, top:bottom, left:right])
        side, mode = (self._pixels("window"),) * 2, self.clip.interpolation
        return torch.cat([interpolate(one[None], side, mode=mode, antialias=True) for one in parts])

    def joined(self, maps: Tensor, grid: tuple[int, int]) -> Tensor:
        """What the views found as one map: the whole's, enlarged, and the crops' are added up.

        Of a CLIP that pools by attention the whole counts half, as released.

        Args:
            maps: ``(n, d, h, w)``, in the order of the views.
            grid: rows and columns of crops.

        Returns:
            ``(1, d, rows * h, columns * w)``.
        """
        _, depth, height, width = maps.shape
        rows, columns = grid
        wholes, crops = maps[: -rows * columns], maps[-rows * columns :]
        size = rows * height, columns * width
        widths = [size[1] // len(wholes)] * len(wholes)
        widths[-1] += size[1] - sum(widths)
        enlarged = [
            interpolate(one[None], (size[0], wide), mode="bilinear")
            for one, wide in zip(wholes, widths, strict=True)
        ]
        tiled = crops.reshape(rows, columns, depth, height, width).permute(2, 0, 3, 1, 4)
        share = 1.0 if self.clip.pool is None else 0.5
        return share * torch.cat(enlarged, dim=3) + tiled.reshape(1, depth, *size)

    def _kept(self, masks: Masks) -> MaskArray:
        """The masks that are large enough, joined."""
        settings = self.settings
        large = masks.masks.mean(axis=(1, 2)) > settings.least_share
        found = Masks(masks.masks[large], masks.scores[large])
        return (found.fused(containment=settings.containment) if settings.fuse else found).masks

    def _named(self, values: Tensor, masks: MaskArray) -> tuple[Tensor, MaskArray]:
        """Scores ``(n, Q)`` of those regions that have a patch left, and their masks."""
        settings, grid = self.settings, (values.shape[2], values.shape[3])
        full = torch.from_numpy(masks)[:, None].to(values.device, torch.float32)
        weights = (
            interpolate(full, grid, mode="bilinear") if len(full) else full.new_zeros(0, *grid)
        )
        threshold = settings.global_threshold if settings.remove_global else None
        patches, weights = values[0].flatten(1).T, weights.flatten(1)
        if self.clip.pool is None:
            pooled, kept = pool_values(patches, weights, threshold)
            joint = self._out(pooled)
        else:
            pooled, kept = pool_tokens(patches, weights, threshold)
            joint = self.clip.pool.through(pooled)
        scores = normalize(joint, dim=-1) @ self.text.T * self._factor
        return scores, masks[kept.cpu().numpy()]

    def _out(self, pooled: Tensor) -> Tensor:
        """Sums of values ``(n, width)`` through the rest of the tower, ``(n, d)``."""
        trunk = Trunk(self.clip.visual, self.clip.visual.transformer.resblocks[-1],
                      pooled[None], (1, len(pooled)), {}, {})  # fmt: skip
        return trunk.joint(trunk.mixed(pooled[None, None].to(self.clip.visual.proj.dtype)))[0]

    def _sums(self, scores: Tensor, masks: MaskArray) -> tuple[Tensor, npt.NDArray[np.intp]]:
        """Sums of scores per set of regions that some pixel has, and the set of every pixel.

        Args:
            scores: ``(n, Q)``.
            masks: ``(n, H, W)``.

        Returns:
            ``(Q, k)`` and ``(H, W)`` within ``0 .. k - 1``: pixels of the same regions are alike.
        """
        flat = masks.reshape(len(masks), -1)
        place = np.zeros(flat.shape[1], np.int64)
        for start in range(0, len(flat), 32):  # as many as go into a number beside the others' set
            place <<= 32
            for i, mask in enumerate(flat[start : start + 32]):
                place |= mask.astype(np.int64) << i
            _, first, place = np.unique(place, return_index=True, return_inverse=True)
        sets = torch.from_numpy(flat[:, first]).to(scores)
        return scores.T @ sets, place.reshape(masks.shape[1:])


def crops_of(pixels: Tensor, side: int) -> tuple[int, int]:
    """Rows and columns of crops that an input ``(3, H, W)`` is cut into, at least one each."""
    return max(pixels.shape[1] // side, 1), max(pixels.shape[2] // side, 1)


def values_of(trunk: Trunk) -> Tensor:
    """The last block's values of patches, all heads side by side, ``(B, width, h, w)`` float32."""
    value = trunk.heads().value[:, :, 1:].transpose(1, 2).flatten(2)
    return on_grid(value, trunk.grid).float()


def pool_values(values: Tensor, masks: Tensor, threshold: float | None) -> tuple[Tensor, Tensor]:
    """Sums of values over regions, without those patches that belong nowhere in particular.

    As released, values are of unit length in the sums where such patches are left out.

    Args:
        values: ``(p, width)`` of patches.
        masks: ``(n, p)`` float32, how much of each patch is in each region.
        threshold: see :func:`without_global`.

    Returns:
        ``(m, width)``, and which of the n have any patch, ``(n,)`` bool.
    """
    if threshold is not None:
        values = normalize(values, dim=1)
        masks = without_global(values, masks, threshold)
    kept = masks.sum(dim=1) > 0
    return masks[kept] @ values, kept


def pool_tokens(tokens: Tensor, masks: Tensor, threshold: float | None) -> tuple[Tensor, Tensor]:
    """Means of tokens over all patches that regions touch; else as :func:`pool_values`.

    As released, masks say where an attention that is uniform may look, however little of a patch
    they hold, and tokens keep their length.
    """
    if threshold is not None:
        masks = without_global(normalize(tokens, dim=1), masks, threshold)
    seen = (masks > 0).to(tokens.dtype)
    count = seen.sum(dim=1)
    kept = count > 0
    return seen[kept] @ tokens / count[kept, None], kept


def without_global(unit: Tensor, masks: Tensor, threshold: float) -> Tensor:
    """Masks ``(n, p)`` without the patches that are as much like other regions as like their own.

    A patch is left out where its mean cosine with the patches of its regions is less than
    ``threshold`` above its mean cosine with those of other regions.

    Args:
        unit: ``(p, width)`` of patches, of unit length.
    """
    inside = (masks > 0).to(unit.dtype)
    # The mean over a region's patches of cosines is the cosine's sum with their mean.
    means = (inside @ unit) / inside.sum(dim=1, keepdim=True).clamp_min(1)
    alike = unit @ means.T
    own = (alike * inside.T).sum(dim=1) / (inside.sum(dim=0) + 1e-9)
    other = (alike * (1 - inside.T)).sum(dim=1) / ((1 - inside).sum(dim=0) + 1e-9)
    return masks.masked_fill(own - other < threshold, 0.0)
