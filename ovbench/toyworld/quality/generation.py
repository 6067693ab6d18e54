"""Whether a diffusion model paints what it is asked for, and knows where it painted it.

A judge that no method uses names what a generated picture shows and says where it is: the
pixels that it labels so. Neither has anything to do with the model's own attention.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from ovbench.models.diffusion.model import Diffusion, Generated, Request
from ovbench.models.diffusion.sampling import Sampling
from ovbench.toyworld.quality.recognition import Judge, load_judge, main_things
from ovbench.toyworld.world import THINGS

PROMPT = "a photo of a {}"
SAMPLING = Sampling(solver="dpm-solver++", steps=20, guidance=4.0)
THRESHOLDS = tuple(step / 20 for step in range(1, 20))
"""Of attribution, scaled from 0 to 1 in every picture."""

_BATCH = 10


def measure(
    model: Diffusion, judge: Judge | None = None, per_class: int = 10, seed: int = 0
) -> dict[str, float]:
    """Generate ``per_class`` pictures of every thing and have them judged.

    Args:
        judge: None is the packaged one.
        seed: of the first picture; every other one has the next seed.

    Returns:
        ``"recognised"``, the share of pictures that show most of what they were asked to show.
        ``"attention_iou"``: where they do, the mean IoU of the attribution of the thing's word,
        above ``"attention_threshold"``, with the thing. One threshold, the best, for all.
    """
    asked = np.repeat(np.arange(len(THINGS)), per_class)
    made = generate(model, asked, seed)
    assert made.attribution is not None  # every request has a name
    probabilities = (judge or load_judge()).probabilities(made.images)
    right = main_things(probabilities) == asked
    objects = probabilities.argmax(dim=1).numpy() == asked[:, None, None]
    shown = right & objects.any(axis=(1, 2))
    ious = _ious(_scaled(made.attribution, objects.shape[1])[shown], objects[shown])
    best = int(ious.argmax())
    return {
        "recognised": round(float(right.mean()), 4),
        "attention_iou": round(float(ious[best]), 4),
        "attention_threshold": THRESHOLDS[best],
    }


def generate(model: Diffusion, asked: npt.NDArray[np.int64], seed: int) -> Generated:
    """One picture of each thing asked for, by its index, with the attribution of its word."""
    requests = [
        Request(PROMPT.format(THINGS[thing]), seed=seed + number, name=THINGS[thing])
        for number, thing in enumerate(asked)
    ]
    return model.generate(requests, SAMPLING, batch_size=_BATCH)


def _scaled(maps: Tensor, side: int) -> npt.NDArray[np.float32]:
    """Each map from 0 to 1, as large as the pictures."""
    low, high = (reduce(maps, dim=(1, 2), keepdim=True) for reduce in (Tensor.amin, Tensor.amax))
    maps = ((maps - low) / (high - low).clamp(min=1e-12))[:, None]
    scaled = F.interpolate(maps, (side, side), mode="bilinear", align_corners=False)
    result: npt.NDArray[np.float32] = scaled[:, 0].cpu().numpy()
    return result


def _ious(maps: npt.NDArray[np.float32], objects: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Per threshold the mean IoU over pictures; 0 where there are none."""
    means = []
    for threshold in THRESHOLDS:
        found = maps > threshold
        both = (found & objects).sum(axis=(1, 2))
        means.append((both / (found | objects).sum(axis=(1, 2))).sum() / max(len(maps), 1))
    return np.array(means)
