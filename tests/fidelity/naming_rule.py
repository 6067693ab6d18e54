"""The rule by which GroupViT, OVSegmentor and SegCLIP name pixels, written out for one window."""

from __future__ import annotations

import torch
from oracles import require_close, vectors
from torch import Tensor
from torch.nn import functional

from ovbench.adapters.grouping.naming import Naming
from ovbench.models.grouping.groups import Groups


def whole_map(method: Naming, pixels: Tensor, classes: int, background: bool) -> Tensor:
    """What a method scores in the only window, ``([1 +] classes, h, w)``, zeros included."""
    maps, kept = method.scores(method.read(pixels), pixels, torch.arange(classes), background)
    whole = torch.zeros(classes + background, *pixels.shape[2:])
    whole[kept + background] = maps[0, int(background) :]
    if background:
        whole[0] = maps[0, 0]
    return whole


def require_groups(found: Groups, name: str, shape: str, shares: Tensor) -> None:
    """A method's groups are those of its released function, in the space of texts."""
    expected, projector = vectors(name), vectors(f"{name}_inputs")["projector"]
    require_close(found.shares.flatten(2), shares)
    tokens, pooled = expected[f"{shape}.group_tokens"], expected[f"{shape}.pooled"]
    require_close(found.vectors, functional.normalize(tokens @ projector, dim=-1))
    require_close(found.image, functional.normalize(pooled @ projector, dim=-1))


def require_scores_and_labels(
    method: Naming, name: str, shape: str, threshold: float | None
) -> None:
    """A method's scores and labels are those of its released function; None has no background."""
    kind = "no_bg" if threshold is None else f"bg{threshold}"
    expected = vectors(name)
    pixels = vectors(f"{name}_inputs")[f"{shape}.pixels"]
    whole = whole_map(method, pixels, 9, threshold is not None)
    require_close(whole[:, ::8, ::8], expected[f"{shape}.scores.{kind}"])
    labels = expected[f"{shape}.labels.{kind}"]
    assert (whole.argmax(0)[::2, ::2] == labels).float().mean() > 0.999


def scores_of_groups(
    tokens: Tensor, image: Tensor, text: Tensor, scale: float, most: int, threshold: float
) -> list[list[float]]:
    """Of one window, group by group and class by class: background's score, then the classes'."""
    classes = range(len(text))
    nearness = [float(image @ text[c]) for c in classes]
    near = sorted(classes, key=lambda c: -nearness[c])[:most]
    table = []
    for token in tokens:
        power = [float(torch.exp(scale * token @ text[c])) for c in classes]
        table.append(
            [
                power[c] / sum(power) * power[c] / sum(power[d] for d in near) if c in near else 0.0
                for c in classes
            ]
        )
    limit = min(threshold, max(map(max, table)))
    return [[1.0 if max(row) < limit else 0.0, *row] for row in table]


def score_of_pixel(
    groups: Groups, text: Tensor, scale: float, threshold: float, patch: int, place: tuple[int, int]
) -> list[float]:
    """Background's score and the classes' at a pixel ``(row, column)`` of the only window."""
    (shares,) = groups.shares
    rows, columns = shares.shape[1:]
    sides = []
    for pixel, count in zip(place, (rows, columns), strict=True):
        centre = min(max((pixel + 0.5) / patch - 0.5, 0.0), count - 1.0)
        low = min(int(centre), count - 1)
        sides.append((low, min(low + 1, count - 1), centre - low))
    (top, bottom, down), (left, right, along) = sides
    share = [
        float(
            (1 - down) * ((1 - along) * of[top, left] + along * of[top, right])
            + down * ((1 - along) * of[bottom, left] + along * of[bottom, right])
        )
        for of in shares
    ]
    table = scores_of_groups(groups.vectors[0], groups.image[0], text, scale, 5, threshold)
    return table[max(range(len(share)), key=share.__getitem__)]
