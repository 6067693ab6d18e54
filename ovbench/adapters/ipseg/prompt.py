"""What a prompt shows: the places of its object, and their mean feature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ovbench.adapters.ipseg.nearest import Mask, nearest
from ovbench.adapters.ipseg.settings import MaskRule, Settled
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.vocabulary import Exemplar
from ovbench.models.patches.saliency import Saliency
from ovbench.models.pixels.inputs import fit_size, input_tensor

FOREGROUND = 0.5


class Shown(NamedTuple):
    """Where a prompt's object is.

    Attributes:
        places: of the grid, ``(g, g)``; at least one is True.
        taken: what the places were found by; another than asked for where that found nothing.
    """

    places: Mask
    taken: MaskRule


def find_object(
    exemplar: Exemplar, features: Tensor, settings: Settled, saliency: Saliency | None
) -> Shown:
    """The object's places by the rule asked for, else by the first principal component, else all.

    All objects that a rule finds count as one.

    Args:
        features: of the picture, ``(d, g, g)``: DINOv2's, where they are read.
        saliency: for the rule "saliency"; else None.

    Raises:
        UsageError: the exemplar's mask is asked for, and it has none.
    """
    everywhere = np.ones((settings.grid, settings.grid), np.bool_)
    if settings.prompt_mask == "none":
        return Shown(everywhere, "none")
    places = ~everywhere
    if settings.prompt_mask == "truth":
        places = _as_masked(exemplar, settings)
    elif saliency is not None:
        places = salient(exemplar.image, settings, saliency)
    if settings.erode:
        # Where nothing would be left the released code goes on with NaN; here with what was.
        smaller = eroded(places)
        places = smaller if smaller.any() else places
    if places.any():
        return Shown(places, settings.prompt_mask)
    places = first_component(features)
    return Shown(places, "pca") if places.any() else Shown(everywhere, "none")


def salient(image: Image, settings: Settled, model: Saliency) -> Mask:
    """Places that are salient."""
    longest = min(settings.saliency_side, max(image.shape[:2]))
    size = fit_size(image.shape[:2], short_side=longest, max_long_side=longest, multiple=1)
    pixels = input_tensor(
        image, size, mean=model.mean, std=model.std, mode="bilinear", device=model.device
    )
    probability = model.predict(pixels[None])[0].cpu().numpy()
    grid = settings.grid
    return nearest(probability > FOREGROUND, (grid, grid), settings.mask_at)


def eroded(places: Mask) -> Mask:
    """Places whose eight neighbours belong too; beyond the border everything does, as in OpenCV."""
    padded = np.pad(places, 1, constant_values=True)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    return np.asarray(windows.all(axis=(2, 3)))


def first_component(features: Tensor) -> Mask:
    """Places on one side of the mean along the first principal component.

    Of the two sides the one that fills less of the border is the object, as what is around an
    object goes on to the border.

    Args:
        features: ``(d, g, g)``.
    """
    flat = features.flatten(1).double()
    centred = flat - flat.mean(dim=1, keepdim=True)
    if float(centred.square().sum()) <= 1e-9 * float(flat.square().sum()):
        # One colour all over: nothing stands out.
        return np.zeros(features.shape[1:], np.bool_)
    directions = torch.linalg.svd(centred, full_matrices=False).Vh
    scores = directions[0].reshape(features.shape[1:]).cpu().numpy()
    positive = scores > 0
    border = np.ones(scores.shape, np.bool_)
    border[1:-1, 1:-1] = False
    places: Mask = ~positive if positive[border].mean() > 0.5 else positive
    return places


def _as_masked(exemplar: Exemplar, settings: Settled) -> Mask:
    if exemplar.mask is None:
        raise UsageError(
            "prompt_mask=truth needs masks: put <picture>_mask.png beside every prompt, or leave "
            "the setting out"
        )
    grid = settings.grid
    places = nearest(exemplar.mask, (grid, grid), settings.mask_at)
    if not places.any():  # thinner than a place: whichever it touches
        tensor = torch.as_tensor(exemplar.mask, dtype=torch.float32)
        places = functional.adaptive_max_pool2d(tensor[None], grid)[0].numpy() > 0
    return places


def pooled(blocks: Sequence[Tensor], places: Mask) -> tuple[Tensor, ...]:
    """Equation 5: per block the mean feature of the object, of unit length, ``(d,)``."""
    chosen = torch.as_tensor(places.ravel(), device=blocks[0].device)
    means = (block.flatten(1)[:, chosen].mean(dim=1) for block in blocks)
    return tuple(functional.normalize(mean, dim=0) for mean in means)


def mean_of(prompts: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """One embedding for several pictures of a class, each of which counts the same."""
    return tuple(
        functional.normalize(torch.stack(block).mean(dim=0), dim=0)
        for block in zip(*prompts, strict=True)
    )


def similarity(
    blocks: Sequence[Tensor], embedding: Sequence[Tensor], weights: Sequence[float]
) -> Tensor:
    """How similar every place is to a prompt: a weighted sum of cosines, ``(g, g)``."""
    total = torch.zeros_like(blocks[0][0])
    for block, vector, weight in zip(blocks, embedding, weights, strict=True):
        cosine = torch.einsum("d,dhw->hw", vector, functional.normalize(block, dim=0))
        total += weight * cosine
    return total
