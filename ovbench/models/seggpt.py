"""SegGPT: a picture, a mask and another picture in, the other picture's mask out.

Wang et al., "SegGPT: Segmenting Everything In Context" (ICCV 2023), through transformers'
``SegGptForImageSegmentation``. The prompt stands above the picture on one canvas, its mask above
an empty half, and the model paints that half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ovbench.errors import UsageError
from ovbench.harness.protocol import CheckpointRecord, Exemplar, Image, Runtime
from ovbench.models.checkpoints import locate
from ovbench.models.precision import DTYPES
from ovbench.models.pretrained import reading

ROLE = "seggpt"

Embedding: TypeAlias = Literal["instance", "semantic"]
"""Which of two learned tokens tells the model what it is asked for."""

# Which axis the channels are is guessed otherwise, and wrongly for pictures of one or three rows.
_FORM: Mapping[str, Any] = {"return_tensors": "pt", "input_data_format": "channels_last"}


class SegGPT:
    """A frozen ``SegGptForImageSegmentation``.

    Attributes:
        checkpoints: which weights these are.
        size: height and width that pictures and masks are squashed to.
    """

    def __init__(
        self, model: Any, checkpoints: tuple[CheckpointRecord, ...], runtime: Runtime
    ) -> None:
        """Wrap a built model, which is frozen and moved in place."""
        from transformers import SegGptImageProcessor

        self._model = model.eval().requires_grad_(False).to(runtime.device)
        self._dtype = DTYPES[runtime.precision]
        self._model.to(self._dtype)
        self.checkpoints = checkpoints
        self.device = torch.device(runtime.device)
        height, width = model.config.image_size
        self.size: tuple[int, int] = (height // 2, width)
        self._processor = SegGptImageProcessor(size={"height": self.size[0], "width": self.size[1]})

    def encode_prompts(self, exemplars: Sequence[Exemplar]) -> tuple[Tensor, Tensor]:
        """Prompt images and their masks as the model takes them, white where the object is.

        Args:
            exemplars: at least one; all have masks.

        Returns:
            Images and masks, ``(n, 3, *size)`` each.
        """
        masks = [np.asarray(e.mask, dtype=np.uint8) * 255 for e in exemplars]
        inputs = self._processor.preprocess(
            prompt_images=[np.array(e.image) for e in exemplars], prompt_masks=masks, **_FORM
        )
        return self._placed(inputs["prompt_pixel_values"]), self._placed(inputs["prompt_masks"])

    def encode(self, image: Image) -> Tensor:
        """A picture as the model takes it, ``(1, 3, *size)``."""
        return self._placed(self._processor.preprocess([np.array(image)], **_FORM)["pixel_values"])

    @torch.inference_mode()
    def paint(
        self, picture: Tensor, prompts: tuple[Tensor, Tensor], embedding: Embedding
    ) -> Tensor:
        """The picture's mask.

        With several prompts the picture is painted below each of them, and in every layer what
        the canvases know of it is averaged (the model's feature ensemble).

        Args:
            picture: from :meth:`encode`.
            prompts: from :meth:`encode_prompts`.

        Returns:
            ``size`` float32, 0..255: the brightness that was painted.
        """
        images, masks = prompts
        count = len(images)
        painted = self._model(
            pixel_values=picture.expand(count, -1, -1, -1),
            prompt_pixel_values=images,
            prompt_masks=masks,
            feature_ensemble=count > 1,
            embedding_type=embedding,
        ).pred_masks[0, :, self.size[0] :]
        mean, std = (
            torch.tensor(values, device=self.device)[:, None, None]
            for values in (self._processor.image_mean, self._processor.image_std)
        )
        brightness: Tensor = ((painted.float() * std + mean) * 255).clamp(0, 255).mean(dim=0)
        return brightness

    def _placed(self, pixels: Tensor) -> Tensor:
        return pixels.to(self.device, self._dtype)


def load_seggpt(name: str, runtime: Runtime) -> SegGPT:
    """Load a SegGPT.

    Args:
        name: in the catalogue, such as ``"seggpt_vit_large"``, or a hub id, optionally with
            ``@revision``.

    Raises:
        UsageError: weights that cannot be had, or are not those of such a model.
    """
    located = locate(ROLE, name, runtime)
    return SegGPT(_load(located.path), located.records, runtime)


def _load(folder: Path) -> Any:
    from transformers import SegGptForImageSegmentation

    with reading(folder):
        model, report = SegGptForImageSegmentation.from_pretrained(folder, output_loading_info=True)
    if report["missing_keys"]:
        raise UsageError(f"{folder}: has no weights for {min(report['missing_keys'])}")
    return model
