"""SAM 2 on single images: masks from points, boxes and earlier masks.

Ravi et al., "SAM 2: Segment Anything in Images and Videos" (ICLR 2025), through transformers'
``Sam2Model``; images go in and masks come out as in the authors' ``SAM2ImagePredictor``
(github.com/facebookresearch/sam2). Its memory, which is for videos, is not loaded.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.files.regular import regular
from ovbench.models.pixels.inputs import IMAGENET_MEAN, IMAGENET_STD, input_tensor
from ovbench.models.precision import DTYPES, autocast, frozen
from ovbench.models.sam.decoding import Answers, decode_many, of_sam2
from ovbench.models.sam.promptable import EncodedImage, MaskPrediction, PromptableSegmenter
from ovbench.models.weights.pretrained import reading, stock

KINDS = ("sam2", "sam2_video")
"""``model_type`` of its configurations; the published ones are for videos as well."""

LARGEST_LOGIT = 32.0
"""``SAM2ImagePredictor`` keeps the logits that it returns, for later prompts, within it."""


class Sam2(PromptableSegmenter):
    """A frozen SAM 2.

    An image is stretched over the whole square input, so that no part of it is padding. The
    image encoder is autocast to the runtime's precision; prompts and masks stay in float32.

    Attributes:
        model: transformers' ``Sam2Model``.
    """

    mask_threshold = 0.0

    def __init__(
        self, model: Any, checkpoints: tuple[CheckpointRecord, ...], runtime: Runtime
    ) -> None:
        """Wrap a built model, which is frozen and moved in place."""
        self.model = frozen(model, runtime.device)
        self._dtype = DTYPES[runtime.precision]
        self.checkpoints = checkpoints
        self.device = torch.device(runtime.device)
        self.image_size: int = model.config.prompt_encoder_config.image_size

    @torch.inference_mode()
    def encode(self, image: Image) -> EncodedImage:
        """See :class:`~ovbench.models.sam.promptable.PromptableSegmenter`.

        Resized bilinearly with antialiasing and not rounded, as torchvision does to the authors.
        """
        square = (self.image_size, self.image_size)
        pixels = input_tensor(
            image,
            square,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            mode="bilinear",
            device=self.device,
        )
        with autocast(self.device, self._dtype):
            seen = self.model.vision_encoder(pixels[None], return_dict=True)
        finest, finer, coarse = (level.float() for level in seen.fpn_hidden_states)
        decoder = self.model.mask_decoder
        features = coarse + self.model.no_memory_embedding.reshape(1, -1, 1, 1)
        size = (image.shape[0], image.shape[1])
        return EncodedImage(
            features, size, square, (decoder.conv_s0(finest), decoder.conv_s1(finer))
        )

    def predict(self, encoded: EncodedImage, **prompt: Any) -> MaskPrediction:
        """See :class:`~ovbench.models.sam.promptable.PromptableSegmenter`."""
        found = super().predict(encoded, **prompt)
        return replace(found, low_res=found.low_res.clip(-LARGEST_LOGIT, LARGEST_LOGIT))

    def to_input(self, places: npt.ArrayLike, encoded: EncodedImage) -> Tensor:
        """See :class:`~ovbench.models.sam.promptable.PromptableSegmenter`."""
        height, width = encoded.size
        pairs = np.asarray(places, np.float64).reshape(-1, 2)
        return self._tensor(pairs / (width, height) * self.image_size)

    @torch.inference_mode()
    def decode(
        self,
        encoded: EncodedImage,
        *,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        multimask: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """See :class:`~ovbench.models.sam.promptable.PromptableSegmenter`.

        One mask of a prompt is, where it is not stable, the best of the three: that is part of the
        model, ``dynamic_multimask_via_stability``.
        """
        sparse, dense = self._embedded(points, labels, boxes, masks)
        count = len(sparse)
        places = self.model.get_image_wide_positional_embeddings()
        answered = self.model.mask_decoder(
            image_embeddings=encoded.features.expand(count, -1, -1, -1),
            image_positional_embeddings=places.expand(count, -1, -1, -1),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
            high_resolution_features=[x.expand(count, -1, -1, -1) for x in encoded.finer],
        )
        low_res, iou = answered[:2]
        return low_res[:, 0], iou[:, 0]

    @torch.inference_mode()
    def decode_many(
        self,
        encoded: EncodedImage,
        *,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        mask: Tensor | None = None,
        multimask: bool = True,
        above: float = 0.0,
    ) -> Answers:
        """See :class:`~ovbench.models.sam.promptable.PromptableSegmenter`."""
        sparse, dense = self._embedded(
            points, labels, boxes, None if mask is None else mask[None, None]
        )
        decoder = self.model.mask_decoder
        several = range(1, decoder.num_mask_tokens) if multimask else range(1)
        choosing = not multimask and decoder.dynamic_multimask_via_stability

        def settle(masks: Tensor, iou: Tensor) -> tuple[Tensor, Tensor]:
            one, its = decoder._dynamic_multimask_via_stability(masks[None], iou[None])
            return one[0], its[0]

        return decode_many(
            of_sam2(decoder),
            encoded.features,
            self.model.get_image_wide_positional_embeddings(),
            sparse[:, 0],
            dense,
            wanted=range(decoder.num_mask_tokens) if choosing else several,
            above=above,
            finer=encoded.finer,
            settle=settle if choosing else None,
        )

    def _embedded(
        self,
        points: Tensor | None,
        labels: Tensor | None,
        boxes: Tensor | None,
        masks: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Prompts, sparse ``(b, 1, k, C)`` and dense ``(b, C, h, w)``.

        A mask alone has no sparse prompt, as its authors ask; transformers adds a point of none.
        """
        sparse, dense = self.model.prompt_encoder(
            input_points=_alone(points, self.device),
            input_labels=_alone(labels, self.device),
            input_boxes=_alone(boxes, self.device),
            input_masks=masks,
        )
        if sparse is None:
            sparse = dense.new_zeros(len(dense), 1, 0, dense.shape[1])
        return sparse, dense

    @torch.inference_mode()
    def upscale(self, low_res: Tensor, encoded: EncodedImage) -> Tensor:
        """See :class:`~ovbench.models.sam.promptable.PromptableSegmenter`."""
        return functional.interpolate(low_res, encoded.size, mode="bilinear", align_corners=False)


def sam2_from_folder(folder: Path) -> Any:
    """A ``Sam2Model`` as ``save_pretrained`` leaves it, or the one in a model for videos.

    Raises:
        UsageError: another model's files, or files that cannot be read or miss weights.
    """
    from transformers import Sam2Config, Sam2Model

    with reading(folder):
        described = json.loads(regular(folder / "config.json").read_text(encoding="utf-8"))
    kind = described.get("model_type")
    if kind not in KINDS:
        raise UsageError(f"{folder}: holds a model of type {kind!r}; {' or '.join(KINDS)} is SAM 2")
    # By its own name, or transformers would warn of every model for videos.
    config = Sam2Config.from_dict({**described, "model_type": "sam2"})
    return stock(Sam2Model, folder, config=config)


def _alone(prompts: Tensor | None, device: torch.device) -> Tensor | None:
    """Every prompt as the only one of an image of its own: ``(b, ...)`` to ``(b, 1, ...)``."""
    if prompts is None:
        return None
    moved = prompts.to(device)
    return (moved.float() if moved.is_floating_point() else moved)[:, None]
