"""CLIP-DINOiser: MaskCLIP's patches are pooled over those of the same object.

Wysoczańska et al., "CLIP-DINOiser: Teaching CLIP a Few DINO Tricks for Open-Vocabulary Semantic
Segmentation", ECCV 2024; released code: github.com/wysoczanska/clip_dinoiser.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor
from torch.nn.functional import interpolate

from ovbench.adapters.dense_clip.value_path import WIDE, ValuePath, WideValuePathSettings
from ovbench.adapters.parts.affinity import cosine_graph, spread
from ovbench.adapters.parts.published import eight
from ovbench.adapters.parts.vfm import renormalised
from ovbench.errors import UsageError
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import setting
from ovbench.models.clip.dinoiser import load_dinoiser
from ovbench.models.clip.last_block import attend, values_alone
from ovbench.models.clip.trunk import Trunk, attended, on_grid
from ovbench.models.patches.encoder import load_patch_encoder
from ovbench.models.patches.saliency import load_saliency

_CONFIG = "released code, configs/clip_dinoiser.yaml"
_SEEN = -3
"""The block whose MLP's input the heads see: feats_idx of the released configuration."""


@dataclass(frozen=True)
class CLIPDINOiserSettings(WideValuePathSettings):
    """Settings of :class:`CLIPDINOiser`."""

    guide: Literal["trained", "teacher"] = setting(
        "trained",
        "released code, CLIP_DINOiser; teacher: its base class DinoCLIP, which needs no training",
        "what says which patches are of one object: two convolutions on CLIP, or DINO and FOUND",
    )
    weights: str = setting(
        "clip_dinoiser_vitb16",
        "released code, checkpoints/last.pt",
        "with guide=trained: the convolutions, of the catalogue, or random",
        picks="clip_dinoiser/{weights}",
        when={"guide": "trained"},
    )
    dino: str = setting(
        "dino_vitb16",
        f"{_CONFIG}, vit_arch, vit_patch_size",
        "with guide=teacher: whose last values are compared, of the catalogue",
        picks="dino/{dino}",
        when={"guide": "teacher"},
    )
    saliency: str = setting(
        "found_dino_vits8",
        "released code, load_teachers: FOUND",
        "with guide=teacher: what tells foreground from background, of the catalogue",
        picks="saliency/{saliency}",
        when={"guide": "teacher"},
    )
    least_cosine: float = setting(
        0.2, f"{_CONFIG}, gamma", "patches less alike are not of one object", least=-1, most=1
    )
    background_rule: bool = setting(
        False,
        "released code, main_eval.py, apply_found: on VOC and COCO-Object",
        "what is unsure and no object's is background",
    )
    sure: float = setting(
        0.99,
        f"{_CONFIG}, delta",
        "with background_rule: a patch whose best probability is lower is unsure",
        least=0,
        most=1,
    )


class CLIPDINOiser(ValuePath):
    """Probabilities of pooled patches; windows' are averaged, and the largest wins."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="CLIP-DINOiser: MaskCLIP pooled over objects, learned from DINO and FOUND",
        kind="weakly trained",
        paper="Wysoczańska et al., ECCV",
        year=2024,
        backbones=("CLIP", "DINO"),
        weights=("clip/ViT-B-16 laion2b_s34b_b88k", "clip_dinoiser/clip_dinoiser_vitb16"),
        code_licence="apache-2.0",
    )
    Settings: ClassVar[type[CLIPDINOiserSettings]] = CLIPDINOiserSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"teacher": {"guide": "teacher"}}
    published: ClassVar[Sequence[Published]] = eight(
        names={
            **dict.fromkeys(("voc21", "voc20", "cocoobject"), "clip_dinoiser"),
            **dict.fromkeys(
                ("context60", "context59", "cocostuff", "ade20k", "cityscapes"), "plain"
            ),
        },
        source="released code, configs/, segmentation/ and main_eval.py",
        voc21={"background_rule": True},
        context60={},
        cocoobject={"background_rule": True},
        voc20={},
        context59={},
        cocostuff={},
        ade20k={},
        cityscapes={},
    )
    SIZES: ClassVar[Mapping[str, float]] = WIDE
    settings: CLIPDINOiserSettings

    def __init__(self, settings: CLIPDINOiserSettings, runtime: Runtime) -> None:
        super().__init__(settings, runtime)
        if self.clip.layers < -_SEEN + 1:
            raise UsageError(
                f"clip_dinoiser reads the third last block: {self.clip.checkpoint.name} has "
                f"{self.clip.layers} blocks, and the first one is always left as it is"
            )
        if settings.guide == "trained":
            width = int(self.clip.visual.conv1.out_channels)
            self._heads = load_dinoiser(settings.weights, width, runtime)
            self.checkpoints += self._heads.checkpoints
        else:
            self._dino = load_patch_encoder("dino", settings.dino, runtime, "dino")
            self._found = load_saliency(settings.saliency, runtime)
            self.checkpoints += (*self._dino.checkpoints, *self._found.checkpoints)

    @property
    def _ruled(self) -> bool:
        return self.settings.background_rule and self.vocabulary.background is not None

    def features(self, windows: Tensor) -> Tensor:
        """See :class:`~ovbench.adapters.parts.dense_clip.DenseCLIP`."""
        return self._pooled(windows)[0]

    def cosines(self, windows: Tensor) -> Tensor:
        """Probabilities among all texts, ``(B, Q, h, w)``, as the released code averages them."""
        pooled, foreground = self._pooled(windows)
        likely = (self.compared(pooled) * self.settings.logit_scale).softmax(dim=1)
        if foreground is not None:
            unsure = likely.amax(dim=1) < self.settings.sure
            first = int((self._labels == 0).argmax())  # of background's texts
            likely[:, first].masked_fill_(unsure & (foreground <= 0.5), 1.0)
        return likely

    def _pooled(self, windows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features ``(B, d, h, w)``, and with the rule how probably a place is an object's."""
        positions = self.settings.positions
        trunk = self.clip.trunk(windows, positions=positions, states=[_SEEN - 1])
        values, _ = attend(trunk, values_alone, residual=True, mlp=True)
        if self.settings.guide == "trained":
            seen = before_mlp(trunk, _SEEN)
            alike = self._heads.alike(seen)
            foreground = self._heads.foreground(seen) if self._ruled else None
        else:
            images = renormalised(windows, self.clip.mean, self.clip.std)
            patch = self._dino.patch_size
            height, width = (max(side // patch, 1) * patch for side in images.shape[-2:])
            alike = self._dino.features(images[..., :height, :width], facet="value")
            foreground = self._objects(images, alike.shape[-2:]) if self._ruled else None
        grid = (alike.shape[-2], alike.shape[-1])
        if values.shape[-2:] != grid:
            values = interpolate(values, grid, mode="bilinear")
        graph = cosine_graph(alike)
        graph = graph.masked_fill(graph < self.settings.least_cosine, 0.0)
        return on_grid(spread(graph, values.flatten(2).mT), grid), foreground

    def _objects(self, images: Tensor, grid: Sequence[int]) -> Tensor:
        """What FOUND says, on a grid."""
        found = self._found.predict(images)[:, None]
        return interpolate(found, (grid[0], grid[1]), mode="bilinear", antialias=True)[:, 0]


def before_mlp(trunk: Trunk, layer: int) -> Tensor:
    """What enters the MLP of an earlier block, normalised; ``(B, width, h, w)`` float32."""
    inner = trunk.at(layer)
    tokens = inner.block.ln_2(attended(inner.block, inner.tokens))
    return on_grid(tokens[:, 1:].float(), trunk.grid)
