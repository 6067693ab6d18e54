"""Generators of class-agnostic masks: each is a frozen dataclass of settings that can be loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image as Picture
from scipy import ndimage
from torch.nn import functional

from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.contract.settings import MANY, SIDE, setting
from ovbench.harness.files.cache import code_of
from ovbench.models.patches.encoder import load_patch_encoder
from ovbench.models.pixels.inputs import input_tensor
from ovbench.models.precision import DTYPES, autocast, frozen
from ovbench.models.regions.maps import MaskArray, ScoreArray
from ovbench.models.sam.loading import load_promptable
from ovbench.models.sam.promptable import EncodedImage, PromptableSegmenter
from ovbench.models.sam.proposals import ProposalSettings, points_together, propose
from ovbench.models.weights.checkpoints import locate
from ovbench.models.weights.pretrained import reading, stock
from ovbench.refine.dense_crf import DenseCRF, unary_from_probabilities
from ovbench.refine.normalized_cut import Mask, cut_masks, panoptic_cuts

BICUBIC, LANCZOS = Picture.Resampling.BICUBIC, Picture.Resampling.LANCZOS
_LEAST_OVERLAP = 0.5
"""Of a cut and what the CRF makes of it, as an IoU; LaVG's released code, predict.py."""


@dataclass(frozen=True, slots=True)
class ReadyGenerator:
    """A generator that is ready.

    Attributes:
        masks: of an image ``(H, W, 3)`` uint8: ``(n, H, W)`` bool and a score each, ``(n,)``.
        checkpoints: which weights it has.
        code: a digest of the code outside this folder that makes the masks.
    """

    masks: Callable[[Image], tuple[MaskArray, ScoreArray]]
    checkpoints: tuple[CheckpointRecord, ...]
    code: str


class Generator(Protocol):
    """What makes masks of an image."""

    def load(self, runtime: Runtime) -> ReadyGenerator:
        """Make it ready; UsageError where weights or a library cannot be had."""
        ...


_BOTH = "SamAutomaticMaskGenerator and SAM2AutomaticMaskGenerator"


@dataclass(frozen=True)
class SamGrid:
    """SAM asked at every point of a grid."""

    weights: str = setting(
        "sam_vit_h", "segment-anything's default", "SAM in the catalogue", picks="sam/{weights}"
    )
    points_per_side: int = setting(32, _BOTH, "of the grid of prompts", least=1, most=256)
    predicted_iou: float = setting(
        0.88, "SamAutomaticMaskGenerator", "masks whose estimate is not above it are dropped",
        least=0, most=1,
    )  # fmt: skip
    stability: float = setting(
        0.95, _BOTH, "masks whose stability is below it are dropped", least=0, most=1
    )
    box_overlap: float = setting(
        0.7, _BOTH, "of masks whose boxes have a higher IoU one is kept", least=0, most=1
    )

    multimask: bool = setting(
        True,
        "SAM2AutomaticMaskGenerator, multimask_output; SamAutomaticMaskGenerator asks for three",
        "three masks a point instead of one",
    )

    def load(self, runtime: Runtime) -> ReadyGenerator:
        """See :class:`Generator`."""
        return self.ready(load_promptable(self.weights, runtime))

    def ready(
        self, sam: PromptableSegmenter, encode: Callable[[Image], EncodedImage] | None = None
    ) -> ReadyGenerator:
        """As :meth:`load`, on a network that a method has loaded for other prompts as well.

        Args:
            encode: instead of the network's own, of a method that has embedded the image already.
        """
        encode = encode or sam.encode

        def masks(image: Image) -> tuple[MaskArray, ScoreArray]:
            settings = ProposalSettings(
                points_per_side=self.points_per_side,
                points_per_batch=points_together((image.shape[0], image.shape[1])),
                pred_iou_thresh=self.predicted_iou,
                stability_score_thresh=self.stability,
                box_nms_thresh=self.box_overlap,
            )
            found = propose(sam, encode(image), settings, multimask=self.multimask)
            return found.masks, found.predicted_iou

        return ReadyGenerator(masks, sam.checkpoints, code_of(propose))


@dataclass(frozen=True)
class Sam2Grid(SamGrid):
    """SAM 2 asked at every point of a grid."""

    weights: str = setting(
        "sam2.1_hiera_large",
        "SAM2AutomaticMaskGenerator, whose defaults are chosen for Hiera-L",
        "SAM 2 in the catalogue or a hub id",
        picks="sam/{weights}",
    )
    predicted_iou: float = setting(
        0.8, "SAM2AutomaticMaskGenerator", "masks whose estimate is not above it are dropped",
        least=0, most=1,
    )  # fmt: skip


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
            return _one_by_one(segments, numbers), np.array(scores, np.float32)

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
            return _one_by_one(found, numbers), np.ones(len(numbers), np.float32)

        return ReadyGenerator(masks, (), f"scikit-image {version('scikit-image')}")


@dataclass(frozen=True)
class Cuts:
    """Normalised cuts of DINO's keys, enlarged to the pixels: MaskCut without its CRF."""

    weights: str = setting(
        "dino_vitb8", "CutLER, section 3.2", "DINO in the catalogue or a hub id",
        picks="dino/{weights}",
    )  # fmt: skip
    side: int = setting(
        480,
        "CutLER's released code, fixed_size",
        "of the square that an image is brought to, in pixels",
        least=16,
        most=SIDE,
    )
    count: int = setting(3, "CutLER, section 3.2", "of cuts at most", least=1, most=100)
    tau: float = setting(
        0.15, "CutLER's released code, tau", "patches more alike than this are joined", least=-1,
        most=1,
    )  # fmt: skip

    def load(self, runtime: Runtime) -> ReadyGenerator:
        """See :class:`Generator`."""
        encoder = load_patch_encoder("dino", self.weights, runtime)

        def masks(image: Image) -> tuple[MaskArray, ScoreArray]:
            height, width = image.shape[:2]
            side = max(1, self.side // encoder.patch_size) * encoder.patch_size
            pixels = input_tensor(
                image,
                (side, side),
                mean=encoder.mean,
                std=encoder.std,
                mode="bicubic",
                device=encoder.device,
            )
            keys = encoder.features(pixels[None], facet="key")[0].permute(1, 2, 0).cpu().numpy()
            cuts = cut_masks(keys, self.count, self.tau)
            if not cuts:
                return np.zeros((0, height, width), bool), np.zeros(0, np.float32)
            soft = torch.from_numpy(np.stack(cuts))[:, None].float()
            full = functional.interpolate(soft, (height, width), mode="bilinear")[:, 0] > 0.5
            # The first cut is the strongest, and says no more of itself than that.
            scores = np.arange(len(cuts), 0, -1, dtype=np.float32)
            return full.numpy(), scores

        return ReadyGenerator(masks, encoder.checkpoints, code_of(cut_masks))


@dataclass(frozen=True)
class PanopticCuts:
    """Normalised cuts until little is left, each sharpened by a CRF: LaVG's masks."""

    weights: str = setting(
        "dino_vitb8", "LaVG's released code, predict.py", "DINO in the catalogue or a hub id",
        picks="dino/{weights}",
    )  # fmt: skip
    side: int = setting(
        640,
        "LaVG's released code, predict.py, imgsize",
        "of the square that an image is brought to, in pixels",
        least=16,
        most=SIDE,
    )
    count: int = setting(
        8, "LaVG's released code, predict.py, N", "of cuts at most", least=1, most=100
    )
    tau: float = setting(
        0.3, "LaVG's released code, predict.py, tau", "patches more alike than this are joined",
        least=-1, most=1,
    )  # fmt: skip

    def load(self, runtime: Runtime) -> ReadyGenerator:
        """See :class:`Generator`."""
        encoder = load_patch_encoder("dino", self.weights, runtime)
        field = DenseCRF()  # LaVG has CutLER's values

        def masks(image: Image) -> tuple[MaskArray, ScoreArray]:
            side = max(1, self.side // encoder.patch_size) * encoder.patch_size
            square = np.asarray(Picture.fromarray(image).resize((side, side), LANCZOS))
            pixels = input_tensor(
                square, (side, side), mean=encoder.mean, std=encoder.std, mode="bicubic",
                device=encoder.device,
            )  # fmt: skip
            keys = encoder.features(pixels[None], facet="key")[0].permute(1, 2, 0).cpu().numpy()
            cuts = panoptic_cuts(keys, self.count, self.tau)
            sharp = [_sharpened(field, square, cut, encoder.device) for cut in cuts]
            full = [_enlarged(cut, image.shape[:2]) for cut in sharp if cut.any()]
            found = np.array(full, bool).reshape(len(full), *image.shape[:2])
            return found, np.arange(len(full), 0, -1, dtype=np.float32)

        return ReadyGenerator(masks, encoder.checkpoints, code_of(panoptic_cuts))


def _sharpened(field: DenseCRF, image: Image, cut: Mask, device: torch.device) -> Mask:
    """A cut ``(h, w)`` at the image's size by its colours; empty where they tell another story."""
    rows, columns = (
        np.arange(wanted) * places // wanted
        for wanted, places in zip(image.shape[:2], cut.shape, strict=True)
    )
    coarse = cut[np.ix_(rows, columns)]
    inside = torch.from_numpy(coarse).float().to(device)
    probabilities = torch.stack([1 - inside, inside]).softmax(dim=0)
    labels = field.labels(image, unary_from_probabilities(probabilities)).bool().cpu().numpy()
    filled: Mask = ndimage.binary_fill_holes(labels)
    overlap = (coarse & filled).sum() / (coarse | filled).sum()
    return filled if overlap >= _LEAST_OVERLAP else np.zeros_like(filled)


def _enlarged(mask: Mask, size: tuple[int, int]) -> Mask:
    """By Pillow's bicubic resizing of bytes, and above half of the largest, as released."""
    picture = Picture.fromarray(mask.astype(np.uint8) * 255)
    found = np.asarray(picture.resize(size[::-1], BICUBIC))
    enlarged: Mask = found > found.max() / 2
    return enlarged


GeneratorName = Literal["sam_grid", "sam2_grid", "panoptic", "superpixels", "cuts", "panoptic_cuts"]
GENERATORS: Mapping[
    GeneratorName, type[SamGrid | Sam2Grid | Panoptic | Superpixels | Cuts | PanopticCuts]
] = {
    "sam_grid": SamGrid,
    "sam2_grid": Sam2Grid,
    "panoptic": Panoptic,
    "superpixels": Superpixels,
    "cuts": Cuts,
    "panoptic_cuts": PanopticCuts,
}
"""The classes of settings by the names that users give."""


def settings_of(generator: Generator) -> dict[str, Any]:
    """Name and settings, JSON-ready."""
    kind = type(generator)
    known = [name for name, one in GENERATORS.items() if one is kind]
    name = known[0] if known else f"{kind.__module__}.{kind.__qualname__}"
    return {"name": name, **asdict(generator)}  # type: ignore[call-overload]


def _one_by_one(numbered: npt.NDArray[Any], numbers: npt.NDArray[Any]) -> MaskArray:
    """A map's regions as masks, ``(n, H, W)``."""
    masks: MaskArray = numbered[None] == numbers[:, None, None]
    return masks
