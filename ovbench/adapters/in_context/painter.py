"""Painter as a method: SegGPT's forerunner, which was shown pictures of many tasks.

Wang et al., "Images Speak in Images: A Generalist Painter for In-Context Visual Learning"
(CVPR 2023); released code: github.com/baaivision/Painter, Painter/. It evaluates semantic
segmentation with one prompt for a whole benchmark, painted in a colour per class; no few-shot
evaluation was released, so that white on black, a class at a time, is our choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ovbench.adapters.in_context.painting import Painting
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import setting
from ovbench.models.painter import load_painter


@dataclass(frozen=True)
class PainterSettings:
    """Settings of :class:`PainterMethod`."""

    weights: str = setting(
        "painter_vit_large",
        "released code, README",
        "of the catalogue, or a SegGPT's hub id",
        picks="painter/{weights}",
    )
    threshold: float = setting(
        127.5,
        "released code, ADE20kSemSegEvaluatorCustom.py: the nearest colour by the sum of absolute "
        "differences, of white and black",
        "painted brightness, of 0..255, above which a pixel is the object's",
        least=0,
        most=255,
    )


class PainterMethod(Painting):
    """As SegGPT, without the tokens that tell SegGPT its task."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="Painter: paints a picture's answer after a prompt's",
        kind="image-prompted",
        paper="Wang et al., CVPR",
        year=2023,
        backbones=("Painter",),
        weights=("painter/painter_vit_large",),
        code_licence="mit",
    )
    Settings = PainterSettings
    needs_exemplars = True

    def __init__(self, settings: PainterSettings, runtime: Runtime) -> None:
        """Load the weights.

        Raises:
            UsageError: weights that cannot be had, or are not those of such a model.
        """
        super().__init__(
            load_painter(settings.weights, runtime),
            name="painter",
            threshold=settings.threshold,
            enlarging="bilinear",  # painter_inference_segm.py
        )
        self.settings = settings
