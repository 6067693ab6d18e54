"""SegGPT: a picture, a mask and another picture in, the other picture's mask out.

Wang et al., "SegGPT: Segmenting Everything In Context" (ICCV 2023), through transformers'
``SegGptForImageSegmentation``. The prompt stands above the picture on one canvas, its mask above
an empty half, and the model paints that half.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.contract.vocabulary import Exemplar
from ovbench.models.pixels.inputs import IMAGENET_MEAN, IMAGENET_STD, pillow_tensor
from ovbench.models.precision import DTYPES, frozen
from ovbench.models.weights.checkpoints import locate
from ovbench.models.weights.pretrained import stock

ROLE = "seggpt"

Embedding: TypeAlias = Literal["instance", "semantic"]
"""Which of two learned tokens tells the model what it is asked for."""


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
        self._model = frozen(model, runtime.device)
        self._dtype = DTYPES[runtime.precision]
        self._model.to(self._dtype)
        keep_streams_apart(self._model)
        self.checkpoints = checkpoints
        self.device = torch.device(runtime.device)
        height, width = model.config.image_size
        self.size: tuple[int, int] = (height // 2, width)

    def encode_prompts(self, exemplars: Sequence[Exemplar]) -> tuple[Tensor, Tensor]:
        """Prompt images and their masks as the model takes them, white where the object is.

        Args:
            exemplars: at least one; all have masks.

        Returns:
            Images and masks, ``(n, 3, *size)`` each.
        """
        images = [self._squashed(e.image, "bicubic") for e in exemplars]
        white = [np.repeat(np.asarray(e.mask, np.uint8)[..., None] * 255, 3, 2) for e in exemplars]
        masks = [self._squashed(mask, "nearest") for mask in white]
        return torch.stack(images), torch.stack(masks)

    def encode(self, image: Image) -> Tensor:
        """A picture as the model takes it, ``(1, 3, *size)``."""
        return self._squashed(image, "bicubic")[None]

    @torch.inference_mode()
    def paint(
        self, picture: Tensor, prompts: tuple[Tensor, Tensor], embedding: Embedding
    ) -> Tensor:
        """The picture's mask.

        With several prompts the picture is painted below each of them, and in every layer what
        the canvases know of it is averaged (the model's feature ensemble), as in the released
        code: see :func:`keep_streams_apart`.

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
            for values in (IMAGENET_MEAN, IMAGENET_STD)
        )
        brightness: Tensor = ((painted.float() * std + mean) * 255).clamp(0, 255).mean(dim=0)
        return brightness

    def _squashed(self, image: Image, mode: Literal["bicubic", "nearest"]) -> Tensor:
        """``(3, *size)``, by Pillow as in the released code; torchvision rounds otherwise."""
        pixels = pillow_tensor(
            image, self.size, mean=IMAGENET_MEAN, std=IMAGENET_STD, mode=mode, device=self.device
        )
        return pixels.to(self._dtype)


def keep_streams_apart(model: Any) -> None:
    """Average several prompts as the released code does, where transformers differs.

    Up to and including layer ``merge_index`` pictures and masks are two streams, which are joined
    behind it; the released code (``models_seggpt.py``, ``merge_idx >= idx``) averages over the
    prompts within each. transformers (``SegGptEncoder.forward``, ``merge_index > i``) takes the
    streams for joined one layer early, and averages pictures with masks there.

    Args:
        model: a ``SegGptForImageSegmentation``; its layer is changed in place.
    """

    def two_streams(_layer: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden_states, _, *others = arguments
        return (hidden_states, 2, *others)

    layers = model.model.encoder.layers
    layers[model.config.merge_index].register_forward_pre_hook(two_streams)


def load_seggpt(name: str, runtime: Runtime) -> SegGPT:
    """Load a SegGPT.

    Args:
        name: in the catalogue, such as ``"seggpt_vit_large"``, or a hub id, optionally with
            ``@revision``.

    Raises:
        UsageError: weights that cannot be had, or are not those of such a model.
    """
    located = locate(ROLE, name, runtime)
    return SegGPT(read_folder(located.path), located.records, runtime)


def read_folder(folder: Path) -> Any:
    """A ``SegGptForImageSegmentation`` as ``save_pretrained`` leaves it.

    Raises:
        UsageError: another model's folder, or weights that are missing.
    """
    from transformers import SegGptForImageSegmentation

    return stock(SegGptForImageSegmentation, folder)
