"""SegGPT as a method: the mask that the model paints below each class's prompt images.

Wang et al., "SegGPT: Segmenting Everything In Context" (ICCV 2023); released code:
github.com/baaivision/Painter, SegGPT/SegGPT_inference. Its evaluation on COCO-20i and FSS-1000
was not released.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ovbench.adapters.in_context.painting import Painting
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import setting
from ovbench.models.seggpt import Embedding, load_seggpt


@dataclass(frozen=True)
class SegGPTSettings:
    """Settings of :class:`SegGPTMethod`."""

    weights: str = setting(
        "seggpt_vit_large",
        "released code and paper",
        "of the catalogue, or a hub id",
        picks="seggpt/{weights}",
    )
    embedding: Embedding = setting(
        "instance",
        "released code, seggpt_inference.py, and transformers: their default",
        "which token tells the model what it is asked for",
    )
    threshold: float = setting(
        128.0,
        "released code, seggpt_engine.py, where it masks the frames of a film",
        "painted brightness, of 0..255, above which a pixel is the object's",
        least=0,
        most=255,
    )


class SegGPTMethod(Painting):
    """One painting per class; what is bright enough is the class's."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="SegGPT: paints the mask that the prompt's mask is like",
        kind="image-prompted",
        paper="Wang et al., ICCV",
        year=2023,
        backbones=("SegGPT",),
        weights=("seggpt/seggpt_vit_large",),
        code_licence="mit",
    )
    Settings = SegGPTSettings
    needs_exemplars = True

    def __init__(self, settings: SegGPTSettings, runtime: Runtime) -> None:
        """Load the weights.

        Raises:
            UsageError: weights that cannot be had.
        """
        super().__init__(
            load_seggpt(settings.weights, runtime),
            name="seggpt",
            threshold=settings.threshold,
            enlarging="nearest",  # as in the released code and in transformers
            embedding=settings.embedding,
        )
        self.settings = settings
