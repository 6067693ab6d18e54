"""All prototypes of a vocabulary in one feature space, and whose they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ovbench.adapters.ovdiff.matching import PrototypeSet
from ovbench.adapters.ovdiff.prototypes import Prototypes
from ovbench.adapters.ovdiff.representation import Region
from ovbench.adapters.ovdiff.settled import Settled
from ovbench.adapters.ovdiff.stuff import unlike_stuff


class Origin(NamedTuple):
    """Where a prototype is from.

    Attributes:
        query: number of the support set among the vocabulary's.
        row: of the :class:`Prototypes` made of it.
    """

    query: int
    row: int


@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """The prototypes of all classes.

    Attributes:
        sets: per region, one run of prototypes per class; stuff may have no background.
        origins: per region, of every prototype.
        dropped: how many background prototypes of things were like stuff.
    """

    sets: Mapping[Region, PrototypeSet]
    origins: Mapping[Region, Sequence[Origin]]
    dropped: int


class _Rows(NamedTuple):
    """Prototypes of one class."""

    vectors: Tensor
    origins: list[Origin]


def assemble(
    made: Sequence[Mapping[Region, Prototypes]],
    owners: Sequence[int],
    stuff: Sequence[bool],
    settings: Settled,
    regions: Sequence[Region],
    device: torch.device | str,
) -> Bank:
    """Put the prototypes of a vocabulary together.

    Args:
        made: per query.
        owners: per query its class; every class has at least one, in order.
        stuff: per class, whether it is.
        regions: what is needed of them.
    """
    rows = {
        region: [_of_class(made, owners, index, region, settings) for index in range(len(stuff))]
        for region in regions
    }
    dropped = 0
    if settings.stuff_filter and "background" in rows:
        rows["background"], dropped = _without_stuff(rows, stuff, settings.stuff_similarity)
    return Bank(
        {
            region: PrototypeSet.of([one.vectors.to(device) for one in found])
            for region, found in rows.items()
        },
        {region: [o for one in found for o in one.origins] for region, found in rows.items()},
        dropped,
    )


def _of_class(
    made: Sequence[Mapping[Region, Prototypes]],
    owners: Sequence[int],
    index: int,
    region: Region,
    settings: Settled,
) -> _Rows:
    """What all queries of a class have, of the kinds that are wanted."""
    vectors, origins = [], []
    for query, (owner, prototypes) in enumerate(zip(owners, made, strict=True)):
        if owner == index:
            chosen = prototypes[region].of_kinds(settings.kinds)
            vectors.append(torch.from_numpy(prototypes[region].vectors[chosen]))
            origins += [Origin(query, row) for row in chosen.tolist()]
    return _Rows(torch.cat(vectors), origins)


def _without_stuff(
    rows: Mapping[Region, Sequence[_Rows]], stuff: Sequence[bool], similarity: float
) -> tuple[list[_Rows], int]:
    """Backgrounds of things without what is like stuff; stuff has none. How many went."""
    shown = [one.vectors for one, yes in zip(rows["foreground"], stuff, strict=True) if yes]
    stuff_set = PrototypeSet.of(shown) if shown else None
    kept, dropped = [], 0
    for one, is_stuff in zip(rows["background"], stuff, strict=True):
        good = np.full(len(one.vectors), not is_stuff)
        if stuff_set and not is_stuff:
            good = unlike_stuff(one.vectors, stuff_set, similarity).numpy()
            dropped += int((~good).sum())
        chosen = np.flatnonzero(good).tolist()
        kept.append(_Rows(one.vectors[chosen], [one.origins[i] for i in chosen]))
    return kept, dropped
