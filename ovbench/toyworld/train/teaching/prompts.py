"""What the miniature SAM is asked while it learns: objects, and prompts for them.

The interactive prompts of Kirillov et al. (ICCV 2023), appendix A: points and boxes first, then
the model's own mask and a point where it is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from ovbench.toyworld.quality.proposals import objects
from ovbench.toyworld.world import SIZE

RECIPE: dict[str, Any] = {
    "things_share": 0.7,  # of the prompts, the others ask for ground
    "first_prompts": {"point": 0.5, "points": 0.3, "box": 0.2},  # shares of the steps
    "max_inside": 5,  # points of a "points" prompt in the object
    "max_outside": 4,  # and outside of it
    "box_noise": 0.1,  # standard deviation, of the box's side
    "second_single": 0.5,  # of the second prompts show the single mask, others the best of three
    "second_point": 0.7,  # have a point where the mask is wrong
    "second_box": 0.3,  # have the mask's box
}

Masks = npt.NDArray[np.bool_]
"""Objects, one each: ``(n, SIZE, SIZE)``."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """Prompts in the frame of the model's input, one for each of ``n`` objects.

    Attributes:
        points, labels: ``(n, k, 2)`` and ``(n, k)``, or None.
        boxes: ``(n, 4)`` or None.
        masks: ``(n, 1, h, w)`` logits or None.
    """

    points: Tensor | None = None
    labels: Tensor | None = None
    boxes: Tensor | None = None
    masks: Tensor | None = None

    def to(self, device: torch.device) -> dict[str, Any]:
        """What ``PromptEncoder`` takes."""
        points, labels, boxes, masks = (
            None if part is None else part.to(device)
            for part in (self.points, self.labels, self.boxes, self.masks)
        )
        asked = None if points is None else (points, labels)
        return {"points": asked, "boxes": boxes, "masks": masks}


def draw_objects(labels: npt.NDArray[np.uint8], count: int, rng: np.random.Generator) -> Masks:
    """``count`` objects of each of ``N`` scenes, ``(N * count, SIZE, SIZE)``; some come twice."""
    chosen: list[Masks] = []
    for label in labels:
        found = objects(label)
        things = np.array([thing for _, thing in found])
        share = np.where(things, RECIPE["things_share"], 1 - RECIPE["things_share"])
        share /= np.where(things, things.sum(), (~things).sum())
        picks = rng.choice(len(found), count, p=share / share.sum())
        chosen += [found[pick][0] for pick in picks]
    return np.stack(chosen)


def first_prompts(masks: Masks, rng: np.random.Generator) -> Prompts:
    """One kind of prompt for all objects: a point, several, or a box."""
    shares = RECIPE["first_prompts"]
    kind = rng.choice(list(shares), p=list(shares.values()))
    if kind == "box":
        return Prompts(boxes=_shaken(boxes_of(masks), rng))
    if kind == "point":
        return Prompts(*_points(masks, 1, 0, rng))
    inside = int(rng.integers(1, RECIPE["max_inside"] + 1))
    outside = int(rng.integers(0, RECIPE["max_outside"] + 1))
    return Prompts(*_points(masks, inside, outside, rng))


def second_prompts(
    first: Prompts,
    logits: Tensor,
    iou: Tensor,
    masks: Masks,
    rng: np.random.Generator,
) -> Prompts:
    """The first prompts and one of the masks they got; often a point where that is wrong."""
    single = rng.random() < RECIPE["second_single"]
    best = torch.zeros_like(iou[:, 0], dtype=torch.long) if single else 1 + iou[:, 1:].argmax(1)
    given = logits[torch.arange(len(best), device=best.device), best][:, None]
    seen = F.interpolate(given, masks.shape[1:], mode="bilinear")[:, 0].cpu().numpy() > 0
    prompts = replace(first, masks=given)
    if rng.random() < RECIPE["second_box"]:
        some = seen.any(axis=(1, 2), keepdims=True)
        prompts = replace(prompts, boxes=boxes_of(np.where(some, seen, masks)).float())
    if rng.random() < RECIPE["second_point"]:
        prompts = _corrected(prompts, seen, masks, rng)
    return prompts


def _corrected(
    prompts: Prompts,
    seen: Masks,
    masks: Masks,
    rng: np.random.Generator,
) -> Prompts:
    """One more point each, in or out, where mask and object differ."""
    wrong: Masks = seen ^ masks
    differ = wrong.any(axis=(1, 2), keepdims=True)
    points = draw_pixels(np.where(differ, wrong, masks), 1, rng)
    x, y = points.astype(np.int64).transpose(2, 0, 1)
    labels = masks[np.arange(len(masks))[:, None], y, x].astype(np.int32)
    point, label = torch.from_numpy(points), torch.from_numpy(labels)
    if prompts.points is None or prompts.labels is None:
        return replace(prompts, points=point, labels=label)
    return replace(
        prompts,
        points=torch.cat([prompts.points, point], dim=1),
        labels=torch.cat([prompts.labels, label], dim=1),
    )


def _points(
    masks: Masks, inside: int, outside: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    parts = [draw_pixels(masks, inside, rng), draw_pixels(~masks, outside, rng)]
    labels = np.repeat(np.array([1, 0], np.int32), [inside, outside])
    points = torch.from_numpy(np.concatenate(parts, axis=1))
    return points, torch.from_numpy(np.tile(labels, (len(masks), 1)))


def draw_pixels(masks: Masks, count: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """``count`` different pixels of each mask, ``(n, count, 2)`` x and y."""
    flat = masks.reshape(len(masks), -1)
    luck = np.where(flat, rng.random(flat.shape, np.float32), -1)
    chosen = np.argpartition(luck, -max(count, 1), axis=1)[:, flat.shape[1] - count :]
    return np.stack([chosen % masks.shape[2], chosen // masks.shape[2]], axis=-1).astype(np.float32)


def boxes_of(masks: Masks) -> Tensor:
    """Left, top, right and bottom pixel of each mask, ``(n, 4)`` int64; none may be empty."""
    sides = []
    for axis in (1, 2):  # columns, then rows
        line = np.asarray(masks.any(axis=axis))
        sides.append((line.argmax(axis=1), line.shape[1] - 1 - line[:, ::-1].argmax(axis=1)))
    (left, right), (top, bottom) = sides
    return torch.from_numpy(np.stack([left, top, right, bottom], axis=1))


def _shaken(boxes: Tensor, rng: np.random.Generator) -> Tensor:
    """Boxes with noise in proportion to their sides, still inside the scene."""
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    noise = torch.from_numpy(rng.standard_normal(boxes.shape, np.float32))
    shaken: Tensor = boxes + noise * sides * RECIPE["box_noise"]
    return shaken.clamp(0, SIZE - 1)
