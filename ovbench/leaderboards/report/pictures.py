"""Pictures of the chosen images, and whether their answers are those that were counted."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from PIL import Image as Pillow

from ovbench.drawing.colours import BACKGROUND, RGB, nth_colour
from ovbench.drawing.pictures import errors, fitted, outlined, overlay
from ovbench.errors import DataError, OvbenchError
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.datasets import Dataset, Sample
from ovbench.harness.metrics.scores import (
    Confusion,
    answered_only,
    confusion,
    mean_over_classes,
)
from ovbench.harness.metrics.tally import Tally
from ovbench.leaderboards.report.contents import Contents
from ovbench.leaderboards.tables.measured import Measured

BOX = (320, 240)
"""Width and height that every picture is fitted into."""
_QUALITY = 82


class Answer(Protocol):
    """What a run answers to an image; see :class:`ovbench.harness.run.replay.Answer`."""

    @property
    def labels(self) -> LabelMap | None:
        """``(H, W)``, unchecked; None where there is no answer."""
        ...

    @property
    def again(self) -> bool:
        """Whether the method was asked again."""
        ...

    @property
    def problem(self) -> str:
        """Why there is no answer."""
        ...


class Answers(Protocol):
    """A run's answers; see :class:`ovbench.harness.run.replay.Replay`."""

    def answer(self, sample: Sample) -> Answer:
        """The answer to a sample."""
        ...

    @property
    def differences(self) -> Sequence[str]:
        """In what a method that was asked again is not the one that was measured."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """Where one run's pictures come from.

    Attributes:
        dataset: that the run was measured on.
        answers: of the run.
    """

    dataset: Dataset
    answers: Answers


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawn picture as a data URI, and its size in pixels."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class SamplePictures:
    """An image, its label, and the prompts that go with it, if any."""

    image: Picture
    label: Picture
    prompts: Sequence[Picture]


@dataclass(frozen=True, slots=True)
class AnswerPictures:
    """An answer and its errors; None where there is no answer.

    Attributes:
        again: the method was asked again for this.
        note: why there is none, or in what it is not what was counted; else empty.
        differs: it is not what was counted.
    """

    prediction: Picture | None = None
    errors: Picture | None = None
    again: bool = False
    note: str = ""
    differs: bool = False


@dataclass(slots=True)
class Pictures:
    """Everything that is drawn.

    Attributes:
        missing: why nothing is; else empty.
        colours: of the labels.
        samples: by image.
        answers: of every run, by image.
        problems: of images that cannot be read.
        differences: in what methods that were asked again are not those measured, by run.
    """

    missing: str = ""
    colours: Mapping[int, RGB] = field(default_factory=dict)
    samples: dict[str, SamplePictures] = field(default_factory=dict)
    answers: list[dict[str, AnswerPictures]] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    differences: list[Sequence[str]] = field(default_factory=list)


def draw(
    contents: Contents,
    sources: Sequence[Source],
    drawn: Callable[[int], None] = lambda count: None,
) -> Pictures:
    """Draw the chosen images, one run after the other: two methods are never loaded at once.

    Args:
        sources: one per run.
        drawn: told how many pictures of an image and a run are done.
    """
    pictures = Pictures(colours=label_colours(contents))
    count = 0
    for run, source in zip(contents.runs, sources, strict=True):
        found: dict[str, AnswerPictures] = {}
        places = {name: place for place, name in enumerate(source.dataset.ids)}
        for chosen in contents.chosen:
            try:
                sample = source.dataset.load(places[chosen.image])
            except DataError as error:
                pictures.problems[chosen.image] = str(error)
            else:
                if chosen.image not in pictures.samples:
                    ignored = source.dataset.info.ignore_label
                    pictures.samples[chosen.image] = _sample(sample, pictures.colours, ignored)
                answer = source.answers.answer(sample)
                found[chosen.image] = _answer(sample, answer, run.measured, pictures.colours)
            count += 1
            drawn(count)
        pictures.answers.append(found)
        pictures.differences.append(source.answers.differences)
    return pictures


def label_colours(contents: Contents) -> dict[int, RGB]:
    """A colour for every label that the chosen images hold, the most different ones for the
    labels with the largest shares."""
    shares: dict[int, float] = {}
    for run in contents.runs:
        for chosen in contents.chosen:
            counted = run.measured.records.images[chosen.image].confusion
            total = int(counted.pixels.sum())
            for labels in (counted.gt, counted.pred):
                for label, pixels in zip(labels.tolist(), counted.pixels.tolist(), strict=True):
                    shares[label] = shares.get(label, 0.0) + pixels / total
    ordered = sorted(shares, key=lambda label: (-shares[label], label))
    colours = {label: nth_colour(place) for place, label in enumerate(ordered)}
    if background_of(contents.reference.measured) == 0:
        colours[0] = BACKGROUND
    return colours


def background_of(measured: Measured) -> int | None:
    """The label of the background, if it is one."""
    return 0 if measured.identity["dataset"]["background"] == "class" else None


def _sample(sample: Sample, colours: Mapping[int, RGB], ignored: int) -> SamplePictures:
    prompts = []
    if sample.prompt is not None:
        for query in sample.prompt.vocabulary.classes:
            prompts += [_encoded(outlined(one.image, one.mask, BOX)) for one in query.exemplars]
    return SamplePictures(
        _encoded(fitted(sample.image, BOX)),
        _encoded(overlay(sample.image, sample.label, colours, ignored, BOX)),
        prompts,
    )


def _answer(
    sample: Sample, answer: Answer, measured: Measured, colours: Mapping[int, RGB]
) -> AnswerPictures:
    labels, ignored = answer.labels, measured.identity["dataset"]["ignore_label"]
    if labels is None:
        return AnswerPictures(note=f"No prediction: {answer.problem}.")
    truth = sample.label
    if measured.identity["settings"].get("unanswered") == "ignore":
        truth = answered_only(truth, labels, ignored)
    try:
        counted = confusion(truth, labels, len(measured.labels), ignored, unanswered="miss")
    except OvbenchError as error:
        return AnswerPictures(note=f"No prediction: {error}.")
    recorded = measured.records.images[sample.id].confusion
    note = "" if _same(counted, recorded) else _difference(counted, recorded, measured, answer)
    return AnswerPictures(
        _encoded(overlay(sample.image, labels, colours, ignored, BOX)),
        _encoded(errors(sample.image, sample.label, labels, background_of(measured), ignored, BOX)),
        answer.again,
        note,
        bool(note),
    )


def _same(a: Confusion, b: Confusion) -> bool:
    return all(
        np.array_equal(*pair) for pair in ((a.gt, b.gt), (a.pred, b.pred), (a.pixels, b.pixels))
    )


def _difference(counted: Confusion, recorded: Confusion, measured: Measured, answer: Answer) -> str:
    areas = Tally.of([counted, recorded], len(measured.labels)).areas().take(measured.scored)
    here, then = mean_over_classes(areas.iou)
    figures = f"mIoU {here:.2f} here, {then:.2f} in the record."
    if answer.again:
        return f"Asked again, the method answers otherwise: {figures}"
    return f"The kept prediction or the label is not the one that was counted: {figures}"


def _encoded(picture: Pillow.Image) -> Picture:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=_QUALITY, method=4)
    uri = f"data:image/webp;base64,{b64encode(buffer.getvalue()).decode()}"
    return Picture(uri, picture.width, picture.height)
