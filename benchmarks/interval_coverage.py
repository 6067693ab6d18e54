"""How often the interval of mIoU, and of a difference of two, holds the truth.

    python -m benchmarks.interval_coverage [--repeats 1000] [--seed 0]

A world of images is drawn once: classes that occur as often as COCO-Stuff's (171, from every third
image down to one in 600) or VOC's (background, person, 19 others), objects of lognormal size, none
larger than a picture, a method that finds some of each and gives the rest to a class beside it or
to one that it takes it for. The mIoU of the whole world is the truth. Small sets are drawn from it,
each gets its interval, and a share of the intervals holds the truth. Three methods: weak, middling,
strong.

Two truths are counted: the world's mIoU ("many images"), and the mean mIoU of sets of the same size
("same size"), which lies lower where classes are rare. "warned" is the share of the sets for which
results say that images are too few. "difference" is the lead over a method that is a tenth weaker.
"percentile" is how often the percentile bootstrap holds the world's mIoU, as a reference.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ovbench.harness.metrics.interval import miou_estimate, miou_interval, too_few
from ovbench.harness.metrics.scores import Areas, mean_over_classes

WORLD = 30_000
LARGEST = 480 * 640
SIZES = (10, 25, 50, 100, 200, 500, 1000, 2000, 5000)
METHODS = {"weak": (0.25, 1.3), "middling": (0.5, 1.0), "strong": (0.85, 1.0)}
KINDS = {
    "COCO-Stuff": np.geomspace(0.35, 0.0016, 171),
    "VOC": np.array([0.98, 0.3, *np.linspace(0.09, 0.045, 19)]),
}
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Objects:
    """Every object of a world: its image, its class, its pixels, how easy it is."""

    image: npt.NDArray[np.intp]
    label: npt.NDArray[np.intp]
    pixels: Floats
    ease: Floats
    neighbour: npt.NDArray[np.intp]
    shape: tuple[int, int]


def draw_objects(occurrence: Floats, rng: np.random.Generator) -> Objects:
    """A world of images whose class ``k`` occurs in a share ``occurrence[k]`` of them."""
    labels = len(occurrence)
    present = rng.random((WORLD, labels)) < occurrence
    image, label = present.nonzero()
    size = rng.normal(0, 0.7, labels)[label] + rng.normal(0, 1.2, len(image))
    ease = rng.normal(0, 0.7, WORLD)[image] + 0.3 * size
    counts = present.sum(axis=1)
    first = np.cumsum(counts) - counts
    neighbour = label[first[image] + rng.integers(0, counts[image])]
    return Objects(
        image, label, np.ceil(np.exp(8 + size).clip(max=LARGEST)), ease, neighbour, (WORLD, labels)
    )


def answer(objects: Objects, skill: float, spread: float, rng: np.random.Generator) -> Areas:
    """What a method makes of a world, per image and class."""
    label, count = objects.label, len(objects.label)
    logit = np.log(skill / (1 - skill)) + rng.normal(0, spread, objects.shape[1])[label]
    logit += objects.ease + rng.normal(0, 1.3, count)
    found = np.floor(objects.pixels / (1 + np.exp(-logit)))
    lookalikes = rng.integers(0, objects.shape[1], (objects.shape[1], 4))
    lookalike = lookalikes[label, rng.integers(0, 4, count)]
    beside = (rng.random(count) < 0.6) & (objects.neighbour != label)
    taken_for = np.where(beside, objects.neighbour, lookalike)
    lost = np.where(taken_for == label, 0, objects.pixels - found)

    def total(labels: npt.NDArray[np.intp], pixels: Floats) -> npt.NDArray[np.int64]:
        flat = objects.image * objects.shape[1] + labels
        summed = np.bincount(flat, pixels, minlength=objects.shape[0] * objects.shape[1])
        return summed.astype(np.int64).reshape(objects.shape)

    hit = total(label, found)
    return Areas(hit, total(label, objects.pixels), hit + total(taken_for, lost))


def chosen(areas: Areas, images: npt.NDArray[np.intp]) -> Areas:
    """The areas of some images."""
    return Areas(areas.intersection[images], areas.gt[images], areas.pred[images])


def miou(areas: Areas) -> float:
    """Of a set, in percent."""
    parts = (areas.intersection, areas.gt, areas.pred)
    return float(mean_over_classes(Areas(*(part.sum(axis=0) for part in parts)).iou[None])[0])


def percentile_interval(areas: Areas, rng: np.random.Generator) -> tuple[float, float]:
    """The percentile bootstrap, 200 resamples."""
    images = len(areas.gt)
    weights = rng.multinomial(images, np.full(images, 1 / images), 200).astype(float)
    both, either = weights @ areas.intersection, weights @ areas.union
    ious = np.full(both.shape, np.nan)
    np.divide(100 * both, either, out=ious, where=either > 0)
    low, high = np.quantile(mean_over_classes(ious), [0.025, 0.975])
    return float(low), float(high)


def holding(intervals: Floats, truth: float) -> float:
    """The share of ``(n, 2)`` intervals that hold the truth, in percent."""
    return float(100 * ((intervals[:, 0] <= truth) & (truth <= intervals[:, 1])).mean())


def rows(kind: str, repeats: int, seed: int) -> Iterator[str]:
    """The table's rows for one kind of world."""
    for place, (name, (skill, spread)) in enumerate(METHODS.items()):
        rng = np.random.default_rng([seed, place, len(KINDS[kind])])
        objects = draw_objects(KINDS[kind], rng)
        world = answer(objects, skill, spread, rng)
        rival = answer(objects, 0.9 * skill, spread, rng)
        truth, lead = miou(world), miou(world) - miou(rival)
        for images in SIZES:
            times = repeats if images <= 1000 else max(repeats // 4, 1)
            draws = [rng.integers(WORLD, size=images) for _ in range(times)]
            sets = [chosen(world, draw) for draw in draws]
            own = [miou(one) for one in sets]
            new = np.array([miou_interval(one) for one in sets])
            old = np.array([percentile_interval(one, rng) for one in sets[: max(times // 10, 1)]])
            pairs = zip(sets, draws, strict=True)
            leads = [miou_estimate(a).minus(miou_estimate(chosen(rival, b))) for a, b in pairs]
            between = np.array([one.interval() for one in leads])
            warned = 100 * np.mean([too_few(one) is not None for one in sets])
            figures = (
                f"{np.mean(own) - truth:+.1f}",
                f"{np.mean(new[:, 1] - new[:, 0]):.1f}",
                f"{holding(new, truth):.1f}",
                f"{holding(new, float(np.mean(own))):.1f}",
                f"{holding(between, lead):.1f}",
                f"{holding(old, truth):.1f}",
                f"{warned:.0f}",
            )
            yield " | ".join([f"| {kind}", name, f"{truth:.1f}", f"{images:,}", *figures]) + " |"


def main(show: Callable[[str], None] = print) -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--repeats", type=int, default=1000, help="sets per row; a quarter above 1,000 images"
    )
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    show(
        "| classes | method | mIoU | images | bias | width | many images % | same size % "
        "| difference % | percentile % | warned % |"
    )
    show("| --- | --- |" + " ---: |" * 9)
    for kind in KINDS:
        for row in rows(kind, given.repeats, given.seed):
            show(row)


if __name__ == "__main__":
    main()
