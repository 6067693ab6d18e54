"""Masks of networks that name what they find, and of colours alone."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import MANY, setting
from ovbench.models.precision import DTYPES, autocast, frozen
from ovbench.models.regions.generator import ReadyGenerator, one_by_one
from ovbench.models.regions.maps import MaskArray, ScoreArray
from ovbench.models.weights.checkpoints import locate
from ovbench.models.weights.pretrained import reading, stock

COCO_STUFF = range(80, 133)
"""Of the classes of COCO's panoptic benchmark, as networks number them."""


@dataclass(frozen=True)
class Panoptic:
    """The segments of a panoptic network, whose classes are not looked at."""

    weights: str = setting(
        "eomt_large_coco_panoptic",
        "CorrCLIP's released code, v1: EoMT-L at 640 pixels or Mask2Former Swin-L",
        "EoMT or Mask2Former, in the catalogue or a hub id",
        picks="panoptic/{weights}",
    )
    threshold: float = setting(
        0.5, "transformers, Mask2FormerImageProcessor", "segments that are less sure are dropped",
        least=0, most=1,
    )  # fmt: skip
    mask_threshold: float = setting(
        0.5, "transformers", "of a pixel's probability to belong to a segment", least=0, most=1
    )
    kept_share: float = setting(
        0.8,
        "transformers, overlap_mask_area_threshold",
        "segments of which others hide more than the rest are dropped",
        least=0,
        most=1,
    )
    join_stuff: bool = setting(
        False,
        "transformers, stuff_classes=None and label_ids_to_fuse=None; EoMT's own code joins them",
        "segments of one of COCO's classes of stuff are one",
    )

    def load(self, runtime: Runtime) -> ReadyGenerator:
        """See :class:`Generator`."""
        from transformers import AutoImageProcessor, AutoModelForUniversalSegmentation

        located = locate("panoptic", self.weights, runtime)
        with reading(located.path):
            processor = AutoImageProcessor.from_pretrained(located.path)
        model = stock(AutoModelForUniversalSegmentation, located.path)
        model = frozen(model, runtime.device)
        device, dtype = torch.device(runtime.device), DTYPES[runtime.precision]
        joined = [*COCO_STUFF] if self.join_stuff else []
        whole: dict[str, Any] = {"stuff_classes": joined}
        if model.config.model_type == "mask2former":
            whole = {"label_ids_to_fuse": {*joined}}

        @torch.inference_mode()
        def masks(image: Image) -> tuple[MaskArray, ScoreArray]:
            size = (image.shape[0], image.shape[1])
            inputs = processor(images=image, return_tensors="pt")
            with autocast(device, dtype):
                answer = model(pixel_values=inputs["pixel_values"].to(device))
            answer.masks_queries_logits = answer.masks_queries_logits.float()
            answer.class_queries_logits = answer.class_queries_logits.float()
            (found,) = processor.post_process_panoptic_segmentation(
                answer,
                threshold=self.threshold,
                mask_threshold=self.mask_threshold,
                overlap_mask_area_threshold=self.kept_share,
                target_sizes=[size],
                **whole,
            )
            numbers = np.array([segment["id"] for segment in found["segments_info"]], np.int64)
            scores = [segment["score"] for segment in found["segments_info"]]
            segments = found["segmentation"].cpu().numpy()
            return one_by_one(segments, numbers), np.array(scores, np.float32)

        return ReadyGenerator(masks, located.records, "")


@dataclass(frozen=True)
class Superpixels:
    """SLIC's superpixels, by scikit-image; no weights, and every pixel belongs to one."""

    count: int = setting(
        100, "scikit-image's default", "of superpixels, about", least=1, most=10_000
    )
    compactness: float = setting(
        10.0, "scikit-image's default", "of nearness against likeness of colours", least=1e-3,
        most=MANY,
    )  # fmt: skip

    def load(self, runtime: Runtime) -> ReadyGenerator:
        """See :class:`Generator`."""
        try:
            from skimage.segmentation import slic
        except ImportError:
            raise UsageError(
                "superpixels need scikit-image: pip install 'ovbench[superpixels]'"
            ) from None

        def masks(image: Image) -> tuple[MaskArray, ScoreArray]:
            found = slic(image, self.count, self.compactness, start_label=1)
            numbers = np.unique(found)
            return one_by_one(found, numbers), np.ones(len(numbers), np.float32)

        return ReadyGenerator(masks, (), f"scikit-image {version('scikit-image')}")
