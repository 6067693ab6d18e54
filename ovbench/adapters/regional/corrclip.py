"""CorrCLIP: in CLIP's last block, patches look only at those of their own region.

Zhang, Liu and Tang, "CorrCLIP: Reconstructing Patch Correlations in CLIP for Open-Vocabulary
Semantic Segmentation", ICCV 2025; released code: github.com/zdk258/CorrCLIP, CorrCLIPv1.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import interpolate, one_hot

from ovbench.adapters.dense_clip.proxyclip import PAIRS
from ovbench.adapters.parts.affinity import cosine_graph
from ovbench.adapters.parts.candidates import pairs
from ovbench.adapters.parts.dense_clip import DenseCLIP, DenseCLIPSettings
from ovbench.adapters.parts.published import eight
from ovbench.adapters.parts.vfm import WEIGHTS, VFMReading, load_vfm
from ovbench.adapters.regional.merging import allowed_pairs, merged, on_places, renumbered
from ovbench.adapters.regional.settings import RegionSettings, generator_of
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import FACTOR, MANY, SIDE, setting
from ovbench.harness.contract.stages import stage
from ovbench.models.clip.region_tokens import RegionTrunk, paint_tokens
from ovbench.models.clip.trunk import on_grid
from ovbench.models.regions.maps import Painting, RegionMap, majority_vote
from ovbench.models.regions.store import Regions

_CODE = "released code, CorrCLIPv1, open_clip/transformer.py"
_CONFIG = "released code, CorrCLIPv1, configs/base_config.py"
_SAM = "released code, CorrCLIPv1, corrclip_segmentor.py, set_mask_generator"


@dataclass(frozen=True)
class CorrCLIPSettings(RegionSettings, DenseCLIPSettings):
    """Settings of :class:`CorrCLIP`."""

    architecture: str = setting(
        "ViT-B-16-quickgelu", f"{_CONFIG}, model_type", "open_clip's name of the CLIP"
    )
    pretrained: str = setting(
        "metaclip_fullcc",
        f"{_CONFIG}, clip_type; paper: OpenAI's as well",
        "open_clip's tag of its weights, tag@revision, or random",
        picks="clip/{architecture} {pretrained}",
    )
    window: int | None = setting(
        None,
        "released code, slide_crop: 336 for CLIPs trained on 224 pixels",
        "side of windows in pixels; none is 1.5 times the CLIP's training size, 0 the whole image",
        most=SIDE,
    )
    window_multiple: int = setting(
        56,
        "released code, compute_padsize: whole patches of 8 and 14 pixels",
        "windows are given zeros up to a multiple of this",
        most=SIDE,
    )
    vfm: str = setting(
        "dino_vitb8",
        f"{_CONFIG}, dino_type",
        "the model that says which patches are alike: as in the catalogue, a hub id, or random",
        picks=WEIGHTS,
    )
    vfm_reading: VFMReading = setting(
        "query_key",
        "released code, corrclip_segmentor.py, forward_feature",
        "what is compared: the sum of queries and keys, or tokens",
    )
    sam2: str = setting(
        "sam2.1_hiera_large",
        f"{_SAM}, which has SAM 2.0's: facebook/sam2-hiera-large",
        "with regions=sam2_grid: the SAM 2, of the catalogue, a hub id, or random",
        picks="sam/{sam2}",
        when={"regions": "sam2_grid"},
    )
    points_per_side: int = setting(
        8, f"{_SAM}; its figures rest on 32, too", "on the grids: of points along a side", least=1,
        most=256,
    )  # fmt: skip
    predicted_iou: float = setting(
        0.4,
        _SAM,
        "on the grids: masks whose predicted IoU is not above it are dropped",
        least=0,
    )
    stability: float = setting(
        0.4,
        _SAM,
        "on the grids: masks whose stability is below it are dropped",
        least=0,
        most=1,
    )
    multimask: bool = setting(
        False, _SAM, "with regions=sam2_grid: ask for three masks a point instead of one"
    )
    on_top: Painting = setting(
        "larger",
        "released code, corrclip_segmentor.py, generate_mask; a panoptic network's masks do not "
        "meet: later keeps their numbers",
        "which mask is seen where several meet",
    )
    merge: bool = setting(
        True, "paper, section 3.3; off is our choice", "join regions whose features are alike"
    )
    merge_distance: float = setting(
        0.2, f"{_CODE}, EPS", "of cosines, within which regions are joined", least=0, most=2
    )
    scope: bool = setting(
        True, "paper, section 3.3; off is our choice", "patches look at those of their region only"
    )
    temperature: float = setting(
        4.0, f"{_CODE}, TAU", "factor on likenesses before the softmax", least=0, most=FACTOR
    )
    spatial_weight: float = setting(
        1.0,
        f"{_CODE}, ALPHA",
        "of the branch of earlier blocks; 0 is off",
        least=0,
        most=FACTOR,
    )
    spatial_blocks: int | None = setting(
        None,
        f"{_CODE}, NUM_SPATIAL: 5 of 12 blocks, 12 of 24, 28 of 32, else all but four",
        "how many blocks before the last but one that branch averages",
        least=1,
        most=MANY,
    )
    semantic_weight: float = setting(
        0.5,
        f"{_CODE}, BETA",
        "of the branch of the regions' own class tokens; 0 is off",
        least=0,
        most=FACTOR,
    )
    vote: bool = setting(
        True,
        "paper, section 3.5; off is our choice",
        "give every region the label that most of its pixels have",
    )


class CorrCLIP(DenseCLIP):
    """Three branches are added up: the last block's values, earlier ones', and regions' tokens."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="CorrCLIP: attention within regions, by masks and DINO",
        kind="training-free",
        paper="Zhang et al., ICCV",
        year=2025,
        backbones=("CLIP", "DINO", "SAM 2"),
        weights=(
            "clip/ViT-B-16-quickgelu metaclip_fullcc",
            "dino/dino_vitb8",
            "sam/sam2.1_hiera_large",
        ),
        code_licence="none stated",
    )
    Settings = CorrCLIPSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "openai": {"architecture": "ViT-B-16", "pretrained": "openai"},
        "mask2former": {"regions": "panoptic", "on_top": "later"},
        "eomt": {
            "regions": "panoptic",
            "panoptic": "eomt_large_coco_panoptic",
            "segment_score": 0.8,
            "join_stuff": True,
            "on_top": "later",
        },
    }
    published: ClassVar[Sequence[Published]] = eight(
        names="corrclip",
        source="released code, CorrCLIPv1, configs/",
        voc21={"background_threshold": 0.2},
        context60={"background_threshold": 0.15},
        cocoobject={"background_threshold": 0.25},
        voc20={},
        context59={},
        cocostuff={},
        ade20k={"short_side": 448},
        cityscapes={"short_side": 448, "window": 224},
    )
    SIZES: ClassVar[Mapping[str, float]] = {**DenseCLIP.SIZES, "window": 1.5}
    settings: CorrCLIPSettings

    def __init__(self, settings: CorrCLIPSettings, runtime: Runtime) -> None:
        super().__init__(settings, runtime)
        clip, name, reading = self.clip, settings.vfm, settings.vfm_reading
        self._averaged = spatial_blocks(settings, clip.layers, clip.checkpoint.name)
        self.vfm = load_vfm(name, runtime, reading, mean=clip.mean, std=clip.std)
        self.regions = Regions(generator_of(settings), runtime)
        self.checkpoints += (*self.vfm.checkpoints, *self.regions.checkpoints)

    @torch.inference_mode()
    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """See :class:`~ovbench.Segmenter`; windows of regions go beside those of pixels."""
        masks = self.regions.masks(images)
        with stage("preprocess"):
            maps = [one.painted(self.settings.on_top) for one in masks]
            inputs = [self._input(image) for image in images]
            both = [with_regions(*one) for one in zip(inputs, maps, strict=True)]
            windows = [self._windows(one) for one in inputs]
        scores = self._maps(both, windows)
        answers = []
        for i, (image, chosen) in enumerate(pairs(images, candidates)):
            size = image.shape[0], image.shape[1]
            labels = self._answer(windows[i].merge(scores[i], size), inputs[i], chosen)
            if self.settings.vote:
                with stage("vote"):
                    labels = majority_vote(labels, maps[i], unsegmented=int(maps[i].min()))
            answers.append(labels)
        return answers

    def features(self, windows: Tensor) -> Tensor:
        """On the other model's grid.

        Args:
            windows: ``(B, 4, H, W)`` float32; the fourth channel is :func:`with_regions`'s.

        Returns:
            See :class:`~ovbench.adapters.parts.dense_clip.DenseCLIP`.
        """
        pixels = windows[:, :3]
        seen = self.vfm.features(pixels)
        grid = seen.shape[2], seen.shape[3]
        numbers = self._numbers(windows[:, 3], seen)
        read = self._read(pixels, numbers)
        trunk, settings = read.trunk, self.settings
        kinds = [trunk.tokens] if read.averaged is None else [trunk.tokens, read.averaged]
        main, *spatial = (trunk.joint(one) for one in self._mixed(read, kinds, seen, numbers))
        for one in spatial:
            main = main + settings.spatial_weight * one
        if read.regions.shape[1]:
            on_patches = on_places(numbers, trunk.grid)
            painted = paint_tokens(read.regions, on_places(on_patches, grid))
            main = main + settings.semantic_weight * trunk.joint(painted)
        return on_grid(main, grid)

    def _numbers(self, shown: Tensor, seen: Tensor) -> Tensor:
        """The regions of every place of the other model's, ``(B, h, w)``, alike ones joined."""
        numbers = on_places(shown, (seen.shape[2], seen.shape[3]))
        padding = numbers.amax() + 1  # a region like others, and none of those without a mask
        numbers = renumbered(torch.where(numbers == 0, padding, numbers))
        if not self.settings.merge:
            return numbers
        distance = self.settings.merge_distance
        each = zip(numbers, seen, strict=True)
        return torch.stack([merged(*one, distance) for one in each])

    def _read(self, pixels: Tensor, numbers: Tensor) -> RegionTrunk:
        """CLIP's blocks, and of the branches what is switched on."""
        settings, patch = self.settings, self.clip.stride
        grid = pixels.shape[2] // patch, pixels.shape[3] // patch
        members = one_hot(on_places(numbers, grid).flatten(1), int(numbers.max()) + 1).mT.bool()
        return self.clip.trunk_with_regions(
            pixels,
            members if settings.semantic_weight else members[:, :0],
            average=self._averaged if settings.spatial_weight else (),
            positions=settings.positions,
        )

    def _mixed(
        self, read: RegionTrunk, kinds: Sequence[Tensor], seen: Tensor, numbers: Tensor
    ) -> Sequence[Tensor]:
        """The values of each kind of tokens, mixed within regions, ``(B, h * w, width)`` each."""
        trunk, grid = read.trunk, (seen.shape[2], seen.shape[3])
        values = [trunk.heads(one).value[:, :, 1:].transpose(1, 2).flatten(2) for one in kinds]
        small = on_grid(torch.cat(values, dim=2), trunk.grid)
        rows = interpolate(small, grid, mode="bilinear").flatten(2).mT
        several = max(1, PAIRS // (grid[0] * grid[1]) ** 2)
        parts = (torch.split(one, several) for one in (seen, rows, numbers.flatten(1)))
        found = []
        for part, value, number in zip(*parts, strict=True):
            graph = cosine_graph(part)
            weights = graph * self.settings.temperature
            if self.settings.scope:
                weights.masked_fill_(~allowed_pairs(graph, number), -torch.inf)
            found.append(weights.softmax(dim=-1).to(value.dtype) @ value)
        mixed = torch.cat(found).chunk(len(kinds), dim=2)
        return [trunk.mixed(one[:, None]) for one in mixed]


def with_regions(pixels: Tensor, regions: RegionMap) -> Tensor:
    """Pixels ``(3, H', W')`` and, as a fourth channel, their regions' numbers and 1.

    The 1 tells what no mask covers from the zeros that windows are given. The map ``(H, W)`` is
    brought to the pixels by the nearest place.
    """
    size = pixels.shape[1], pixels.shape[2]
    numbers = on_places(torch.from_numpy(regions)[None], size).to(pixels.device) + 1
    return torch.cat([pixels, numbers.to(pixels.dtype)])


def spatial_blocks(settings: CorrCLIPSettings, layers: int, name: str) -> range:
    """The blocks, from 0, that the spatial branch averages: so many before the last but one.

    Raises:
        UsageError: a CLIP that has not so many.
    """
    asked = settings.spatial_blocks
    count = {12: 5, 24: 12, 32: 28}.get(layers, max(layers - 4, 1)) if asked is None else asked
    if settings.spatial_weight and count > layers - 2:
        raise UsageError(
            f"spatial_blocks={count}: {name} has {layers} blocks, and those before the last but "
            "one are averaged; spatial_weight=0 leaves that branch out"
        )
    return range(max(layers - 2 - count, 0), max(layers - 2, 0))
