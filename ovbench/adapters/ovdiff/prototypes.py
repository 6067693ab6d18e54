"""From features within masks to prototypes, and back to where each came from (paper, 3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

PrototypeKind: TypeAlias = Literal["class", "instance", "part"]
KINDS: tuple[PrototypeKind, ...] = get_args(PrototypeKind)

Vectors: TypeAlias = npt.NDArray[np.float32]


class Prototypes(NamedTuple):
    """What stands for one region, foreground or background, of one class in one feature space.

    Attributes:
        vectors: ``(P, D)`` float32, not normalised.
        kind: ``(P,)`` int8, index into :data:`KINDS`.
        source: ``(P,)`` int32: of an instance its picture, of a part its number, else 0.
        regions: ``(N, h, w)`` int16 on the grid of the features: -1 outside the mask, else the
            part that the place belongs to, 0 where there are no parts.
    """

    vectors: Vectors
    kind: npt.NDArray[np.int8]
    source: npt.NDArray[np.int32]
    regions: npt.NDArray[np.int16]

    def of_kinds(self, kinds: Sequence[PrototypeKind]) -> npt.NDArray[np.intp]:
        """The rows of some kinds, in order."""
        return np.flatnonzero(np.isin(self.kind, [KINDS.index(kind) for kind in kinds]))

    def places(self, row: int) -> npt.NDArray[np.bool_]:
        """Where a prototype came from: ``(N, h, w)``."""
        found = self.regions >= 0
        kind = KINDS[self.kind[row]]
        if kind == "instance":
            found = found & (np.arange(len(found)) == self.source[row])[:, None, None]
        if kind == "part":
            found = self.regions == self.source[row]
        return found


def on_grid(masks: npt.NDArray[np.bool_], grid: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Masks ``(N, H, W)`` resized to features, ``(N, h, w)`` bool.

    Resized bilinearly, whatever is touched counts, as in the released code.
    """
    soft = torch.from_numpy(masks)[:, None].float()
    resized = functional.interpolate(soft, tuple(grid), mode="bilinear", align_corners=False)
    touched: npt.NDArray[np.bool_] = (resized[:, 0] > 0).numpy()
    return touched


class Gathered(NamedTuple):
    """The features of one region's places.

    Attributes:
        values: ``(M, D)`` float32, picture after picture, row by row.
        masks: ``(N, h, w)`` bool, on the grid of the features, with M places.
    """

    values: Vectors
    masks: npt.NDArray[np.bool_]


def gather(
    features: Iterable[Tensor], regions: Sequence[npt.NDArray[np.bool_]], *, shown_only: bool
) -> list[Gathered]:
    """Collect the features of some regions from one pass over the pictures.

    Args:
        features: per picture ``(D, h, w)``; all of one grid, at least one.
        regions: masks ``(N, H, W)`` each, on a grid of their own.
        shown_only: leave out pictures whose first region is empty on the grid of the features.
    """
    found: list[Gathered] = []
    filled = [0] * len(regions)
    for picture, feature in enumerate(features):
        if not found:  # filled in place, since a list of parts would need twice the memory
            grids = [on_grid(masks, feature.shape[1:]) for masks in regions]
            if shown_only:
                grids = [grid & grids[0].any(axis=(1, 2), keepdims=True) for grid in grids]
            width = len(feature)
            found = [Gathered(np.empty((grid.sum(), width), np.float32), grid) for grid in grids]
        for index, (values, masks) in enumerate((one.values, one.masks) for one in found):
            inside = torch.from_numpy(masks[picture]).to(feature.device)
            rows = feature[:, inside].mT.cpu().numpy()
            values[filled[index] : filled[index] + len(rows)] = rows
            filled[index] += len(rows)
    return found


def build(gathered: Gathered, parts: int) -> Prototypes:
    """The prototypes of a region.

    The class mean weighs instances by their area (paper), so it is the mean over all places.
    Parts are centres of k-means on features as they are, not normalised; instances with an
    empty mask have no prototype.

    Args:
        parts: clusters; fewer where there are fewer places, 0 for none.
    """
    values, masks = gathered.values, gathered.masks
    regions = np.full(masks.shape, -1, np.int16)
    areas = masks.sum(axis=(1, 2)).tolist()
    if not len(values):
        nothing = np.empty((0, values.shape[1]), np.float32)
        return Prototypes(nothing, np.empty(0, np.int8), np.empty(0, np.int32), regions)
    pictures = [i for i, area in enumerate(areas) if area]
    starts = np.cumsum([0, *areas])
    instances = [values[starts[i] : starts[i + 1]].mean(axis=0) for i in pictures]
    centres, part = _clusters(values, parts)
    regions[masks] = part
    counts = (1, len(instances), len(centres))
    return Prototypes(
        np.concatenate([values.mean(axis=0)[None], np.stack(instances), centres]),
        np.repeat(np.arange(3, dtype=np.int8), counts),
        np.concatenate([[0], pictures, np.arange(len(centres))]).astype(np.int32),
        regions,
    )


def _clusters(values: Vectors, parts: int) -> tuple[Vectors, npt.NDArray[np.int16]]:
    """Centres ``(k, D)`` and each value's cluster; one cluster without a centre for none."""
    if not parts:
        return np.empty((0, values.shape[1]), np.float32), np.zeros(len(values), np.int16)
    from sklearn.cluster import KMeans

    # Released code: random_state=0, and scikit-learn's defaults.
    found = KMeans(min(parts, len(values)), random_state=0).fit(values)
    return found.cluster_centers_.astype(np.float32), found.labels_.astype(np.int16)
