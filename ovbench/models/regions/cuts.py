"""Normalised cuts of DINO's keys."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image as Picture
from scipy import ndimage
from torch.nn import functional

from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import SIDE, setting
from ovbench.models.patches.encoder import load_patch_encoder
from ovbench.models.pixels.inputs import input_tensor
from ovbench.models.regions.generator import ReadyGenerator
from ovbench.models.regions.maps import MaskArray, ScoreArray
from ovbench.refine.dense_crf import DenseCRF, unary_from_probabilities
from ovbench.refine.normalized_cut import Mask, cut_masks, panoptic_cuts

BICUBIC, LANCZOS = Picture.Resampling.BICUBIC, Picture.Resampling.LANCZOS
_LEAST_OVERLAP = 0.5
"""Of a cut and what the CRF makes of it, as an IoU; LaVG's released code, predict.py."""


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

        return ReadyGenerator(masks, encoder.checkpoints, "")


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

        return ReadyGenerator(masks, encoder.checkpoints, "")


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
