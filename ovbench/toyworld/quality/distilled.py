"""How well a RADIO says what its teachers say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from ovbench.models.clip.model import CLIP
from ovbench.models.radio.model import SAM, TEXT, Radio
from ovbench.models.sam.model import Sam
from ovbench.toyworld.quality.localisation import TEMPLATES, both
from ovbench.toyworld.scene import Scene
from ovbench.toyworld.world import NAMES, SIZE

SIDES = (SIZE, 2 * SIZE)
"""Input sizes: as rendered, and enlarged."""

_BATCH = 20


def measure(radio: Radio, clip: CLIP, sam: Sam, scenes: Sequence[Scene]) -> dict[str, float]:
    """Of its two heads.

    Keys are ``"miou_15..."`` and ``"miou_11..."`` with the input's side, in percent (things and
    stuff; stuff as background): places in CLIP's space; and ``"sam_cosine"``: how alike SAM's
    neck finds the places and those of SAM's own encoder, on average.
    """
    images = np.stack([scene.image for scene in scenes])
    labels = np.stack([scene.label for scene in scenes])
    results: dict[str, float] = {}
    for side in SIDES:
        results |= both(name_places(radio, clip, images, side), labels, f"{side}px")
    return results | {"sam_cosine": _alike(radio, sam, images)}


@torch.inference_mode()
def name_places(
    radio: Radio, clip: CLIP, images: npt.NDArray[np.uint8], side: int
) -> npt.NDArray[np.int64]:
    """The class of the highest cosine at every pixel of ``(N, SIZE, SIZE, 3)``."""
    texts = clip.embed_queries(NAMES, TEMPLATES)
    found = []
    for part in _parts(images):
        places = radio.mapped(radio.features(enlarged(radio, part, side)), TEXT)
        cosines = torch.einsum("qd,bdhw->bqhw", texts, F.normalize(places, dim=1))
        found.append(F.interpolate(cosines, (SIZE, SIZE), mode="bilinear").argmax(dim=1).cpu())
    labels: npt.NDArray[np.int64] = torch.cat(found).numpy()
    return labels


@torch.inference_mode()
def _alike(radio: Radio, sam: Sam, images: npt.NDArray[np.uint8]) -> float:
    cosines = []
    for part in _parts(images):
        own = sam.model.image_encoder.neck(encoder_output(sam, part))
        mapped = radio.mapped(radio.features(enlarged(radio, part, SIZE)), SAM)
        cosines.append(F.cosine_similarity(own, sam.model.image_encoder.neck(mapped), dim=1))
    return round(float(torch.cat(cosines).mean()), 4)


def enlarged(radio: Radio, images: npt.NDArray[np.uint8], side: int) -> Tensor:
    """As a RADIO takes them, ``(N, 3, side, side)``."""
    mean, std = (torch.tensor(v)[:, None, None] for v in (radio.mean, radio.std))
    pixels = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std
    return F.interpolate(pixels, (side, side), mode="bicubic").to(radio.device)


@torch.no_grad()
def encoder_output(sam: Sam, images: npt.NDArray[np.uint8]) -> Tensor:
    """What SAM's image encoder gives its neck, ``(N, width, h, w)``."""
    seen: list[Tensor] = []
    encoder = sam.model.image_encoder
    hook = encoder.neck.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        pixels = torch.from_numpy(images).to(sam.device).permute(0, 3, 1, 2).float()
        encoder(sam.model.preprocess(pixels))
    finally:
        hook.remove()
    return seen[0].float()


def _parts(images: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.uint8]]:
    return [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
