"""Which templates know a class, and what their experts say together.

Benigmim et al., "FLOSS: Free Lunch in Open-vocabulary Semantic Segmentation", ICCV 2025; released
code: github.com/yasserben/FLOSS.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ovbench.errors import UsageError
from ovbench.harness.files.json_files import parse
from ovbench.harness.files.regular import regular

_LEAST = 1e-10
"""Beside probabilities in a logarithm (mmseg/evaluation/metrics/entropy_metric.py)."""
_RENAMED: Mapping[str, str] = {"ship": "boat", "table": "diningtable"}
"""Names that the released code asks for, and its rankings call otherwise (naclip.py)."""

Templates = npt.NDArray[np.intp]
"""Which templates know a class, by number, the best first."""


def entropies(likely: Tensor, owners: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """How unsure pixels are, by the class that each is given.

    Args:
        likely: ``(Q, H, W)`` probabilities; a class has those of its strongest query.
        owners: ``(Q,)``, the class of each query.
        classes: how many.

    Returns:
        Sums of entropies ``(classes,)`` float64, in nats, and numbers of pixels ``(classes,)``.
    """
    flat = likely.flatten(1)
    if len(flat) != classes:
        flat = torch.stack([flat[owners == one].amax(dim=0) for one in range(classes)])
    given = flat.argmax(dim=0)
    unsure = -(flat * (flat + _LEAST).log()).sum(dim=0)
    sums = torch.bincount(given, weights=unsure.double(), minlength=classes)
    return sums, torch.bincount(given, minlength=classes)


def best(sums: npt.NDArray[Any], counts: npt.NDArray[Any], most: int) -> list[Templates]:
    """Of every class the templates that are surest where they see it, from ``(T, C)`` each.

    A class that no template ever sees keeps all of them, which is our choice; the released code
    stops there.
    """
    mean = sums / np.maximum(counts, 1)
    chosen = []
    for entropy, seen in zip(mean.T, counts.T > 0, strict=True):
        order = np.argsort(entropy, kind="stable")
        known = order[seen[order]][:most]
        chosen.append(known if len(known) else order)
    return chosen


def ranked(
    file: Path, classes: Sequence[Sequence[str]], templates: int, most: int
) -> list[Templates]:
    """What the authors' file says of classes, which are found in it by name.

    Names count as equal whatever their case, blanks and hyphens: the rankings have
    ``trafficlight`` where vocabularies have ``traffic light``.

    Args:
        classes: of every class the names that it goes by, the most likely one first.
        templates: how many there are.
        most: how many a class takes.

    Raises:
        UsageError: no such file of theirs, or one that does not rank templates of every class.
    """
    try:
        rows: Mapping[str, Any] = parse(regular(file).read_bytes())["classes"]
        found = {
            _bare(name): [
                int(one["template_id"]) for one in row["entropy_ranking"] if one["pixel_percentage"]
            ]
            for name, row in rows.items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise UsageError(f"{file}: is no ranking of templates ({reason}); delete it and run again"
                         ) from None  # fmt: skip
    if any(not 0 <= one < templates for row in found.values() for one in row):
        raise UsageError(f"{file}: ranks templates beyond the {templates} there are")
    chosen, unknown = [], []
    for names in classes:
        bare = [_bare(name) for name in names]
        known = [one for one in (*bare, *(_RENAMED.get(one, "") for one in bare)) if one in found]
        if known:
            chosen.append(np.array(found[known[0]][:most] or range(templates), np.intp))
        else:
            unknown.append(names[0])
    if unknown:
        more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
        raise UsageError(
            f"{file}: ranks no templates of {', '.join(map(repr, unknown[:3]))}{more}; take the "
            "names it was made for with --preset published, or a folder of pictures with "
            "--set experts=FOLDER/"
        )
    return chosen


def _bare(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


def fuse(experts: Tensor, default: Tensor, owners: Tensor, size: tuple[int, int]) -> Tensor:
    """One set of probabilities of all experts: at every pixel, that of one who finds its own class.

    Of several the surest, and where there is none the default. As the released code's
    ``expert_fusion``, after all are enlarged. One whose class is nowhere the most probable at any
    place cannot win between places either, if one other class is always before it, and is not
    enlarged.

    Args:
        experts: ``(C, Q, h, w)`` probabilities over queries.
        default: ``(Q, h, w)``, by all templates.
        owners: ``(Q,)``, the expert whose class each query is of.
        size: height and width of the result.

    Returns:
        ``(Q, *size)``.
    """

    def enlarged(maps: Tensor) -> Tensor:
        return interpolate(maps[None], size, mode="bilinear")[0]

    found = enlarged(default)
    surest = found.new_full(size, -1.0)
    for number, likely in enumerate(experts):
        own = owners == number
        ahead = likely[~own] - likely[own].amax(dim=0)
        if len(ahead) and bool((ahead.flatten(1).amin(dim=1) > 0).any()):
            continue
        whole = enlarged(likely)
        sure, query = whole.max(dim=0)
        wins = own[query] & (sure > surest)
        surest = torch.where(wins, sure, surest)
        found = torch.where(wins, whole, found)
    return found
