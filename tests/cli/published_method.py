"""Methods with published settings, as another package would register them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ovbench.adapters.parts.published import eight
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import setting
from ovbench.harness.contract.tuning import Example, Phase
from ovbench.harness.contract.vocabulary import Vocabulary


@dataclass(frozen=True)
class DenseSettings:
    short_side: int = setting(224, "our choice", "of the input")
    logit_scale: float = setting(40.0, "our choice", "factor on cosines")
    threshold: float = setting(0.0, "our choice", "below this is background")


class _Tuner:
    checkpoints = ()
    phases = (Phase("scale", {"logit_scale": [50.0, 60.0]}),)

    def prepare(self, vocabulary: Vocabulary) -> None:
        pass

    def rewards(self, values: Mapping[str, Any], examples: Sequence[Example]) -> list[float]:
        return [values["logit_scale"]] * len(examples)


class Dense:
    """Answers the label that is the number of the first class's texts, modulo two."""

    Settings = DenseSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"soft": {"logit_scale": 1.0}}
    published: ClassVar[Sequence[Published]] = eight(
        names={"voc21": "sclip", "voc20": "ovdiff", "cityscapes": "sclip"},
        source="released code, configs",
        common={"short_side": 336},
        voc21={"logit_scale": 65.0, "threshold": 0.1},
        context60=None,
        cocoobject=None,
        voc20={},
        context59=None,
        cocostuff=None,
        ade20k=None,
        cityscapes={"threshold": 0.1},
    )

    def __init__(self, settings: DenseSettings, runtime: Runtime) -> None:
        self.settings = settings

    @staticmethod
    def tuner(settings: DenseSettings, runtime: Runtime) -> _Tuner:
        return _Tuner()

    def prepare(self, vocabulary: Vocabulary) -> None:
        self.label = len(vocabulary.queries) % 2

    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        return [np.full(image.shape[:2], self.label, dtype=np.uint8) for image in images]


class Steady(Dense):
    """The same for all benchmarks."""

    published = eight(
        names=None, source="paper, section 4", common={"short_side": 448},
        voc21={}, context60={}, cocoobject={}, voc20={}, context59={}, cocostuff={}, ade20k={},
        cityscapes={},
    )  # fmt: skip
