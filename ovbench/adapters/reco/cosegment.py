"""What a class looks like: the place that several pictures of it have in common.

Shin, Xie and Albanie, "ReCo: Retrieve and Co-segment for Zero-shot Transfer" (NeurIPS 2022),
section 3.2; released code: github.com/NoelShin/reco, networks/reco.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

Columns: TypeAlias = Literal["released", "own"]
"""Where a picture's nearest place is looked for.

- ``own``: among the picture's places, as the paper says.
- ``released``: of the i-th picture, counted from 0, also among those of the i pictures behind it.
  The released code lets the range end where it begins and ends together, and what its authors
  publish was made in this way.
"""


class Common(NamedTuple):
    """What pictures have in common.

    Attributes:
        vector: ``(d,)`` float32, of unit length.
        seeds: ``(n,)`` int64, in every picture the place that is most like all pictures, row by
            row.
    """

    vector: Tensor
    seeds: Tensor


def cosegmented(features: Tensor, weights: Tensor, columns: Columns) -> Common:
    """Of every picture the place whose nearest places in all pictures are nearest, averaged.

    Places are compared by cosine, times the weight of the one that is looked for. The products of
    one picture with all others exist at a time: 8 MB of 50 pictures with 196 places.

    Args:
        features: ``(n, d, h, w)`` float32, of any length; their own are averaged.
        weights: ``(n, h, w)``, 0..1, how much of a place may be the class.
        columns: see :data:`Columns`.
    """
    count, width = features.shape[:2]
    places = functional.normalize(features.flatten(2), dim=1).mT
    looked_for = (places * weights.flatten(1)[..., None]).reshape(-1, width)
    seeds = []
    for own in places:
        nearest = (own @ looked_for.mT).reshape(len(own), count, -1).amax(dim=2)
        seeds.append(_among(nearest, columns).mean(dim=1).argmax())
    seed = torch.stack(seeds)
    chosen = features.flatten(2)[torch.arange(count, device=seed.device), :, seed]
    return Common(functional.normalize(chosen.mean(dim=0), dim=0), seed)


def _among(nearest: Tensor, columns: Columns) -> Tensor:
    """From every picture's nearest ``(p, n)`` to those of the ranges that are looked through."""
    if columns == "own":
        return nearest
    return torch.stack(
        [nearest[:, i : 2 * i + 1].amax(dim=1) for i in range(nearest.shape[1])], dim=1
    )


def context_weights(features: Tensor, context: Sequence[Tensor]) -> Tensor:
    """How little each place looks like any of what often surrounds things.

    Args:
        features: ``(n, d, h, w)``.
        context: vectors ``(d,)`` of unit length; there may be none.

    Returns:
        ``(n, h, w)``, the product of ``1 - sigmoid(cosine)``.
    """
    places = functional.normalize(features, dim=1)
    weights = places.new_ones(len(places), *places.shape[2:])
    for vector in context:
        weights = weights * (1 - torch.einsum("ndhw,d->nhw", places, vector).sigmoid())
    return weights
