"""dino.txt: DINOv2's or DINOv3's patches with a head on them that learned where texts are.

Jose et al., "DINOv2 Meets Text: A Unified Framework for Image- and Pixel-Level Vision-Language
Alignment", CVPR 2025; DINOv3's: Siméoni et al., arXiv:2508.10104. Segmentation as in the notebook
of the latter's code, github.com/facebookresearch/dinov3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from ovbench.adapters.parts.published import eight
from ovbench.adapters.parts.sliding import Found, Sliding, SlidingSettings
from ovbench.adapters.parts.templates import TemplateSet, templates
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import SIDE, setting
from ovbench.models.pixels.inputs import pillow_tensor
from ovbench.models.pixels.labels import decide
from ovbench.models.pixels.scores import Scores
from ovbench.models.pixels.windows import Windows
from ovbench.models.towers.dinotxt import load_dinotxt

_NOTEBOOK = "released code of DINOv3, notebooks/dinotxt_segmentation_inference.ipynb"


@dataclass(frozen=True)
class DinoTxtSettings(SlidingSettings):
    """Settings of :class:`DinoTxtSegmenter`."""

    weights: str = setting(
        "dinotxt_dinov2_vitl14",
        "released code, dinov2/hub/dinotxt.py; its page gives all to everybody",
        "head and text tower, of the catalogue, or random; they bring their encoder with them",
        picks="dinotxt/{weights}",
    )
    patches: Literal["head", "encoder"] = setting(
        "head",
        "paper, and released code of DINOv3, notebooks/dinotxt_inference.ipynb; encoder: the "
        "notebook of segmentation, which takes the third of what get_class_and_patch_tokens gives",
        "whether texts are compared with patches behind the head or before it",
    )
    prompts: TemplateSet = setting(
        "imagenet80",
        f"{_NOTEBOOK}, PROMPT_TEMPLATES",
        "set of prompt templates whose embeddings are averaged",
    )
    short_side: int | None = setting(
        512,
        f"{_NOTEBOOK}, resize",
        "shorter side of the input in pixels, resized as Pillow does, bicubic; the longer one is "
        "rounded down",
        least=1,
        most=SIDE,
    )
    max_long_side: int = setting(
        SIDE,
        f"{_NOTEBOOK}, which has no limit: ours, for pictures eight times as long as high",
        "limit of its longer side",
        least=1,
        most=SIDE,
    )
    window: int | None = setting(
        384,
        f"{_NOTEBOOK}, side; mode whole: 0",
        "side of windows in pixels, each stretched to whole patches; 0 the whole image, without "
        "probabilities",
        most=SIDE,
    )
    window_stride: int | None = setting(
        192, f"{_NOTEBOOK}, stride", "pixels between windows", least=1, most=SIDE
    )


class DinoTxtSegmenter(Sliding):
    """Probabilities of windows' pixels, a softmax of cosines as they are, averaged."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="dino.txt: a head on DINOv2's or DINOv3's patches and a text tower, from captions",
        kind="weakly trained",
        paper="Jose et al., CVPR",
        year=2025,
        backbones=("DINOv2",),
        weights=("dinotxt/dinotxt_dinov2_vitl14",),
        code_licence="apache-2.0; DINOv3: DINOv3 License",
    )
    Settings = DinoTxtSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "dinov3": {"weights": "dinotxt_dinov3_vitl16"},
        # the notebook to the letter
        "notebook": {"weights": "dinotxt_dinov3_vitl16", "patches": "encoder"},
        # Configuration.mode of the notebook
        "whole": {"window": 0},
    }
    published: ClassVar[Sequence[Published]] = eight(
        names=None,
        source=_NOTEBOOK,
        common={"weights": "dinotxt_dinov3_vitl16"},
        voc21=None,
        context60=None,
        cocoobject=None,
        voc20=None,
        context59=None,
        cocostuff=None,
        ade20k={},
        cityscapes={},
    )
    background_texts: ClassVar[bool] = True
    settings: DinoTxtSettings

    def __init__(self, settings: DinoTxtSettings, runtime: Runtime) -> None:
        self.settings = settings
        self._model = load_dinotxt(settings.weights, runtime)
        self.checkpoints = self._model.checkpoints
        self.device, self.patch = self._model.device, self._model.patch

    def embed(self, texts: Sequence[str]) -> Tensor:
        """See :class:`~ovbench.adapters.parts.sliding.Sliding`."""
        return self._model.embed_queries(texts, templates(self.settings.prompts))

    def read(self, windows: Tensor) -> Found:
        """Patches of unit length, ``(n, d, h, w)``; encode_image of the released notebook."""
        size = cast(
            "tuple[int, int]",
            tuple(-(-side // self.patch) * self.patch for side in windows.shape[-2:]),
        )
        if windows.shape[-2:] != size:
            windows = interpolate(windows, size, mode="bicubic", align_corners=False)
        places = self._model.places(windows, head=self.settings.patches == "head")
        return (normalize(places, dim=1),)

    def scores(
        self, found: Found, windows: Tensor, queries: Tensor, background: bool
    ) -> tuple[Tensor, Tensor]:
        """Cosines of patches; see :class:`~ovbench.adapters.parts.sliding.Sliding`."""
        return torch.einsum("kd,ndhw->nkhw", self.text[queries], found[0]), queries

    def _size(self, image: Image) -> tuple[int, int]:
        return shorter_to(
            (image.shape[0], image.shape[1]),
            int(self.settings.short_side or 0),
            self.settings.max_long_side,
        )

    def _input(self, image: Image) -> Tensor:
        return pillow_tensor(
            image,
            self._size(image),
            mean=self.mean,
            std=self.std,
            mode="bicubic",
            device=self.device,
        )

    def _settle(
        self, maps: Tensor, windows: Windows, labels: npt.NDArray[np.intp], image: Image
    ) -> LabelMap:
        """The notebook's predict_slide, or with one window of all its predict_whole."""
        size = (image.shape[0], image.shape[1])
        if self.settings.window:
            maps = windows.average(_probabilities(maps, windows))[None]
        scores = Scores.enlarged(maps[0], size)
        return decide(scores, labels, dtype=self._vocabulary.label_dtype)


def _probabilities(maps: Tensor, windows: Windows) -> Iterator[Tensor]:
    """Of cosines ``(n, k, h, w)``, window by window at its own size, ``(k, H, W)``."""
    size = (windows.rows.length, windows.columns.length)
    for cosines in torch.split(maps, 1):
        yield interpolate(cosines, size, mode="bilinear", align_corners=False)[0].softmax(dim=0)


def shorter_to(size: tuple[int, int], short_side: int, max_long_side: int) -> tuple[int, int]:
    """Height and width with the shorter side given and the longer one rounded down.

    Args:
        size: height and width of the image.
        short_side: wanted length of the shorter side.
        max_long_side: limit of the longer side, at the cost of the image's shape.
    """
    long_side = min(int(short_side * max(size) / min(size)), max_long_side)
    short_side = min(short_side, max_long_side)
    return (short_side, long_side) if size[0] <= size[1] else (long_side, short_side)
