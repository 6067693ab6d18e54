"""SAM, promptable segmentation: masks from points, boxes and earlier masks.

Kirillov et al., "Segment Anything" (ICCV 2023), through the ``Sam`` class of the authors'
``segment_anything``. Proposals for a whole image are in :mod:`ovbench.models.sam.proposals`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.files.regular import regular
from ovbench.models.precision import DTYPES, frozen
from ovbench.models.sam.decoding import Answers, decode_many, of_sam
from ovbench.models.sam.guidance import Guidance, guided
from ovbench.models.sam.promptable import EncodedImage, MaskPrediction, PromptableSegmenter
from ovbench.models.weights.checkpoints import locate
from ovbench.models.weights.untrained import seeded, untrained

ROLE = "sam"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
"""The two files of a checkpoint that is a folder."""


@dataclass(frozen=True, slots=True)
class SamConfig:
    """The numbers that ``segment_anything``'s builder sets; the defaults are the official ones.

    Attributes:
        encoder_global_attn_indexes: blocks that attend globally; the others within windows.
        encoder_window_size: side of a window, in patches.
        prompt_embed_dim: channels of image embedding, prompt embedding and mask decoder.
    """

    encoder_embed_dim: int
    encoder_depth: int
    encoder_num_heads: int
    encoder_global_attn_indexes: tuple[int, ...]
    encoder_window_size: int = 14
    image_size: int = 1024
    patch_size: int = 16
    prompt_embed_dim: int = 256
    mask_in_chans: int = 16
    decoder_depth: int = 2
    decoder_num_heads: int = 8
    decoder_mlp_dim: int = 2048
    iou_head_depth: int = 3
    iou_head_hidden_dim: int = 256


OFFICIAL = {
    "vit_b": SamConfig(768, 12, 12, (2, 5, 8, 11)),
    "vit_l": SamConfig(1024, 24, 16, (5, 11, 17, 23)),
    "vit_h": SamConfig(1280, 32, 16, (7, 15, 23, 31)),
}
"""By the part of the official file's name, such as ``sam_vit_b_01ec64.pth``."""


class Sam(PromptableSegmenter):
    """A frozen SAM.

    The image encoder computes in the runtime's precision. The prompt encoder and the mask
    decoder stay in float32: they are small, and mask borders and the filters on predicted
    quality rest on them.

    Attributes:
        model: ``segment_anything``'s.
        checkpoints: which weights these are.
        image_size: side of the model's square input; an image's longer side is resized to it.
    """

    def __init__(
        self, model: Any, checkpoints: tuple[CheckpointRecord, ...], runtime: Runtime
    ) -> None:
        self.model = frozen(model, runtime.device)
        self._dtype = DTYPES[runtime.precision]
        self.model.image_encoder.to(self._dtype)
        self.checkpoints = checkpoints
        self.device = torch.device(runtime.device)
        self.image_size: int = self.model.image_encoder.img_size
        self.mask_threshold: float = self.model.mask_threshold
        self._transform = _transform(self.image_size)

    @torch.inference_mode()
    def encode(self, image: Image) -> EncodedImage:
        """Embed an RGB image ``(H, W, 3)`` uint8; resized by Pillow, as the authors do."""
        resized = self._transform.apply_image(image)
        pixels = torch.as_tensor(resized, device=self.device).permute(2, 0, 1)[None]
        features = self._encoded(self.model.preprocess(pixels))
        height, width = image.shape[:2]
        return EncodedImage(features, (height, width), resized.shape[:2])

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor:
        """What leaves the image encoder's neck, of images stretched over its whole input.

        They are encoded one after the other: in a ViT-B at 1024 pixels, the weights of one global
        attention alone take 0.8 GB an image in float32.

        Args:
            images: ``(B, 3, H, W)``, normalised by ImageNet's mean and deviation.

        Returns:
            ``(B, C, h, w)`` float32, on the encoder's own grid.
        """
        square = (self.image_size, self.image_size)
        images = functional.interpolate(images.to(self.device), square, mode="bilinear")
        return torch.cat([self._encoded(image[None]) for image in images])

    @torch.inference_mode()
    def necked(self, features: Tensor) -> Tensor:
        """What the encoder's neck makes of features ``(1, width, h, w)`` of its last block.

        They may be another network's that was taught them. Returns ``(1, C, h, w)`` float32.
        """
        found: Tensor = self.model.image_encoder.neck(features.to(self._dtype))
        return found.float()

    def _encoded(self, pixels: Tensor) -> Tensor:
        encoded: Tensor = self.model.image_encoder(pixels.to(self._dtype))
        return encoded.float()

    def predict(
        self,
        encoded: EncodedImage,
        *,
        guidance: Guidance | None = None,
        **prompt: Any,
    ) -> MaskPrediction:
        """See :class:`~ovbench.models.sam.promptable.PromptableSegmenter`.

        Args:
            guidance: what the decoder is told beside the prompt.
        """
        with guided(self.model.mask_decoder, guidance):
            return super().predict(encoded, **prompt)

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
        """See :class:`~ovbench.models.sam.promptable.PromptableSegmenter`."""
        sparse, dense = self._embedded(points, labels, boxes, masks)
        low_res, iou = self.model.mask_decoder(
            image_embeddings=encoded.features,
            image_pe=self.model.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
        )
        return low_res, iou

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
        masks = None if mask is None else mask[None, None]
        sparse, dense = self._embedded(points, labels, boxes, masks)
        positions = self.model.prompt_encoder.get_dense_pe()
        decoder = self.model.mask_decoder
        return decode_many(
            of_sam(decoder),
            encoded.features,
            positions,
            sparse,
            dense,
            wanted=range(1, decoder.num_mask_tokens) if multimask else range(1),
            above=above,
        )

    def _embedded(
        self, points: Tensor | None, labels: Tensor | None, boxes: Tensor | None, masks: Any
    ) -> tuple[Tensor, Tensor]:
        """Prompts, sparse ``(b, k, C)`` and dense ``(b, C, h, w)``."""
        sparse, dense = self.model.prompt_encoder(
            points=None if points is None else (points, labels), boxes=boxes, masks=masks
        )
        return sparse, dense

    @torch.inference_mode()
    def upscale(self, low_res: Tensor, encoded: EncodedImage) -> Tensor:
        """See :class:`~ovbench.models.sam.promptable.PromptableSegmenter`."""
        if encoded.input_size != encoded.size:
            logits: Tensor = self.model.postprocess_masks(low_res, encoded.input_size, encoded.size)
            return logits
        # The image was not resized for the model, so that resizing its masks back changes nothing.
        square = (self.image_size, self.image_size)
        logits = functional.interpolate(low_res, square, mode="bilinear", align_corners=False)
        return logits[..., : encoded.size[0], : encoded.size[1]]

    @torch.inference_mode()
    def to_features(self, mask: npt.NDArray[np.bool_], encoded: EncodedImage) -> Tensor:
        """How far a mask of the image fills the features: ``(H, W)`` to ``(h, w)`` in 0..1.

        The mask takes the image's own way: resized by Pillow, padded with nothing, and read
        bilinearly at the centres of the features' cells.
        """
        resized = self._transform.apply_image(mask.astype(np.uint8) * 255)
        filled = torch.as_tensor(resized, device=self.device)[None, None].float() / 255
        height, width = filled.shape[-2:]
        padding = (0, self.image_size - width, 0, self.image_size - height)
        shares: Tensor = functional.interpolate(
            functional.pad(filled, padding),
            encoded.features.shape[-2:],
            mode="bilinear",
            align_corners=False,
        )
        return shares[0, 0]

    def to_input(self, places: npt.ArrayLike, encoded: EncodedImage) -> Tensor:
        """See :class:`~ovbench.models.sam.promptable.PromptableSegmenter`."""
        pairs = np.asarray(places, np.float64).reshape(-1, 2)
        return self._tensor(self._transform.apply_coords(pairs, encoded.size))


def load_sam(name: str, runtime: Runtime) -> Sam:
    """Load a SAM.

    Args:
        name: of the catalogue, such as ``"sam_vit_b"``, or ``"random"`` for seeded random weights
            of its size, which serve to measure speed.
        runtime: its ``checkpoints`` decide between these and the packaged miniature.

    Raises:
        UsageError: unknown name, weights that cannot be had or read, or SAM 2's, which
            :func:`~ovbench.models.sam.loading.load_promptable` takes.
    """
    if is_sam2(name):
        raise UsageError(f"{name} is SAM 2, whose inside differs; choose among {_official_names()}")
    if untrained(name, runtime):
        record = CheckpointRecord(ROLE, "SAM ViT-B, random weights", None, None)
        with seeded(runtime):
            return Sam(build_sam(OFFICIAL["vit_b"]), (record,), runtime)
    located = locate(ROLE, name, runtime)
    model = model_from_folder(located.path) if located.path.is_dir() else _from_file(located.path)
    return Sam(model, located.records, runtime)


def is_sam2(name: str) -> bool:
    """Whether a name is of SAM 2: of the catalogue, or a hub id, as which there is no other SAM."""
    return name.startswith("sam2") or "/" in name


def build_sam(config: SamConfig) -> Any:
    """An untrained ``segment_anything`` ``Sam``, as the authors' builder puts it together."""
    from segment_anything import modeling

    grid = config.image_size // config.patch_size
    return modeling.Sam(
        image_encoder=modeling.ImageEncoderViT(
            depth=config.encoder_depth,
            embed_dim=config.encoder_embed_dim,
            img_size=config.image_size,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            num_heads=config.encoder_num_heads,
            patch_size=config.patch_size,
            use_rel_pos=True,
            global_attn_indexes=config.encoder_global_attn_indexes,
            window_size=config.encoder_window_size,
            out_chans=config.prompt_embed_dim,
        ),
        prompt_encoder=modeling.PromptEncoder(
            embed_dim=config.prompt_embed_dim,
            image_embedding_size=(grid, grid),
            input_image_size=(config.image_size, config.image_size),
            mask_in_chans=config.mask_in_chans,
        ),
        mask_decoder=modeling.MaskDecoder(
            transformer=modeling.TwoWayTransformer(
                depth=config.decoder_depth,
                embedding_dim=config.prompt_embed_dim,
                mlp_dim=config.decoder_mlp_dim,
                num_heads=config.decoder_num_heads,
            ),
            transformer_dim=config.prompt_embed_dim,
            iou_head_depth=config.iou_head_depth,
            iou_head_hidden_dim=config.iou_head_hidden_dim,
        ),
    )


def model_from_folder(folder: Path) -> Any:
    """A ``segment_anything`` ``Sam`` as described and stored in a folder."""
    from safetensors.torch import load_file

    numbers = json.loads(regular(folder / CONFIG).read_text(encoding="utf-8"))
    model = build_sam(SamConfig(**numbers))
    model.load_state_dict(load_file(regular(folder / WEIGHTS)))
    return model


def _transform(side: int) -> Any:
    """The authors' ``ResizeLongestSide``, which would round the short side of a thread to none."""
    from segment_anything.utils.transforms import ResizeLongestSide

    class Resize(ResizeLongestSide):  # type: ignore[misc]
        @staticmethod
        def get_preprocess_shape(height: int, width: int, longest: int) -> tuple[int, int]:
            size = ResizeLongestSide.get_preprocess_shape(height, width, longest)
            return max(1, size[0]), max(1, size[1])

    return Resize(side)


def _from_file(path: Path) -> Any:
    """One of the official files, whose name tells its architecture."""
    found = re.match(r"sam_(vit_[bhl])", path.name)
    if found is None:
        raise UsageError(f"{path.name}: no SAM known by this name; there are: {_official_names()}")
    model = build_sam(OFFICIAL[found[1]])
    try:
        model.load_state_dict(torch.load(regular(path), map_location="cpu", weights_only=True))
    except Exception as error:  # a cut or foreign file fails in many ways
        reason = str(error).strip().split("\n", 1)[0]
        raise UsageError(
            f"{path}: no weights of SAM's {found[1]} ({reason}); delete the file so that it is "
            "downloaded again"
        ) from None
    return model


def _official_names() -> str:
    return ", ".join(f"sam_{name}" for name in OFFICIAL)
