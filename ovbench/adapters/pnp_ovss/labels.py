"""From class salience maps to a label map: threshold, blur, dense CRF (paper, section 3.3)."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ovbench.adapters.pnp_ovss.salience import rescaled
from ovbench.adapters.pnp_ovss.settings import Settled
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.stages import stage
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.pixels.labels import label_map as strongest
from ovbench.refine.dense_crf import DenseCRF, unary_from_probabilities
from ovbench.refine.resample import enlarge, gaussian_blur


class Planes(NamedTuple):
    """What competes for the pixels of an image.

    Attributes:
        values: ``(P, H, W)`` float32.
        labels: ``(P,)``, of the vocabulary.
        copies: per plane, how many classes it stands for. Classes with an empty mask have
            equal planes and share the last one, which costs nothing of exactness.
        flat: whether any of them comes from a mask that is the same everywhere.
    """

    values: Tensor
    labels: npt.NDArray[np.intp]
    copies: tuple[int, ...]
    flat: bool


def label_map(
    maps: Tensor,
    labels: npt.NDArray[np.intp],
    image: Image,
    vocabulary: Vocabulary,
    settings: Settled,
) -> LabelMap:
    """Label every pixel of an image.

    Args:
        maps: ``(K, h, w)`` float32 salience, at least 0.
        labels: ``(K,)``, of the vocabulary.
        image: ``(H, W, 3)`` uint8.
    """
    size = (image.shape[0], image.shape[1])
    settings = with_unit(settings, vocabulary)
    if not settings.blur and not settings.crf_iterations:
        return _by_salience(maps, labels, size, vocabulary, settings)
    background = vocabulary.background is not None and _in_play(len(labels), settings)
    with stage("blur"):
        planes = enlarged(maps, labels, size, settings)
        if background and settings.background == "empty":
            planes = with_background(planes, (planes.values.sum(dim=0) == 0).to(maps.dtype))
        if settings.flat_mask == "first" and planes.flat:
            first = 0 if background else labels[0]
            return np.full(size, first, vocabulary.label_dtype)
        planes = blurred(planes, settings)
        if background and settings.background == "residual":
            planes = with_background(planes, (1 - planes.values.sum(dim=0)).clamp_min(0))
        scores = _scores(planes, settings)
    if settings.crf_iterations:
        with stage("crf"):
            unary = unary_from_probabilities(scores)
            plane = _crf(settings).labels(image, unary, planes.copies)
        return _named(plane, planes, vocabulary)
    best, plane = scores.max(dim=0)
    answer = _named(plane, planes, vocabulary)
    unclaimed = (best == 0).cpu().numpy()
    if unclaimed.any():
        # Without a background some label is due where all masks are empty: the largest
        # salience, however small (our choice; the code takes the first class).
        answer[unclaimed] = strongest(maps, labels, size, dtype=answer.dtype)[unclaimed]
    return answer


def _in_play(classes: int, settings: Settled) -> bool:
    """Whether the background competes where so many classes may be in the image."""
    return settings.background_below is None or classes < settings.background_below


def _named(plane: Tensor, planes: Planes, vocabulary: Vocabulary) -> LabelMap:
    """From the planes' indices to labels."""
    named: LabelMap = planes.labels[plane.cpu().numpy()].astype(vocabulary.label_dtype)
    return named


def with_unit(settings: Settled, vocabulary: Vocabulary) -> Settled:
    """Decide what the threshold is a share of where that is left to the vocabulary."""
    if settings.threshold_of != "auto":
        return settings
    # Where there is no background every patch belongs to some class: they compete there.
    return replace(settings, threshold_of="image" if vocabulary.background else "patch")


def _by_salience(
    maps: Tensor,
    labels: npt.NDArray[np.intp],
    size: tuple[int, int],
    vocabulary: Vocabulary,
    settings: Settled,
) -> LabelMap:
    """Without blur and CRF: the largest salience, background where all masks are empty.

    Our choice, since the paper is silent: among overlapping binary masks the order of the
    classes would decide.
    """
    with stage("upsample"):
        answer = strongest(maps, labels, size, dtype=vocabulary.label_dtype)
        if vocabulary.background and len(maps):
            peak = in_units(maps, settings).amax(dim=0, keepdim=True)
            low = enlarge(peak, size, "bilinear")[0] < settings.threshold
            answer[low.cpu().numpy()] = 0
    return answer


def masks(maps: Tensor, settings: Settled) -> Tensor:
    """What is left of the maps above the threshold; ``(K, h, w)``."""
    above = (in_units(maps, settings) >= settings.threshold) & (maps > 0)
    return maps * above if settings.mask == "soft" else above.to(maps.dtype)


def in_units(maps: Tensor, settings: Settled) -> Tensor:
    """The maps in the threshold's unit."""
    if settings.threshold_of == "class":
        return rescaled(maps)
    tiny = torch.finfo(maps.dtype).tiny
    if settings.threshold_of == "patch":
        return maps / maps.sum(dim=0, keepdim=True).clamp_min(tiny)
    if settings.threshold_of == "image" and len(maps):
        return maps / maps.amax().clamp_min(tiny)
    return maps


def enlarged(
    maps: Tensor,
    labels: npt.NDArray[np.intp],
    size: tuple[int, int],
    settings: Settled,
) -> Planes:
    """Masks at full size; classes without a mask share one empty plane, the last."""
    small = masks(maps, settings)
    seen = small.flatten(1).any(dim=1)
    values = enlarge(small[seen], size, settings.upsample)
    found = seen.cpu().numpy()
    planes = Planes(values, labels[found], (1,) * int(found.sum()), _any_flat(small))
    return planes if found.all() else _with_empty(planes, labels[~found])


def _with_empty(planes: Planes, empty: npt.NDArray[np.intp]) -> Planes:
    size = planes.values.shape[1:]
    return planes._replace(
        values=torch.cat([planes.values, planes.values.new_zeros(1, *size)]),
        labels=np.append(planes.labels, empty[0]),
        copies=(*planes.copies, len(empty)),
    )


def _any_flat(planes: Tensor) -> bool:
    return bool(len(planes)) and bool((planes.amin(dim=(1, 2)) == planes.amax(dim=(1, 2))).any())


def blurred(planes: Planes, settings: Settled) -> Planes:
    """Blurred planes, and each brought to 0..1 where the settings say so."""
    if not settings.blur or not len(planes.values):
        return planes
    values = gaussian_blur(planes.values, settings.blur * max(planes.values.shape[1:]))
    return planes._replace(values=rescaled(values) if settings.blur_rescale else values)


def with_background(planes: Planes, plane: Tensor) -> Planes:
    """Put the background's plane, label 0, before the others.

    Args:
        plane: ``(H, W)``.
    """
    return Planes(
        torch.cat([plane[None], planes.values]),
        np.append(0, planes.labels),
        (1, *planes.copies),
        planes.flat or _any_flat(plane[None]),
    )


def _scores(planes: Planes, settings: Settled) -> Tensor:
    if not settings.softmax:
        return planes.values
    copies = planes.values.new_tensor(planes.copies)[:, None, None]
    # A plane that stands for several classes counts as often in the sum.
    return (planes.values + copies.log()).softmax(dim=0) / copies


def _crf(settings: Settled) -> DenseCRF:
    return DenseCRF(
        iterations=settings.crf_iterations,
        spatial_weight=settings.crf_spatial_weight,
        spatial_std=settings.crf_spatial_std,
        bilateral_weight=settings.crf_bilateral_weight,
        bilateral_std=settings.crf_bilateral_std,
        colour_std=settings.crf_colour_std,
    )
