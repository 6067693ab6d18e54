"""The chosen images: picture, label, prediction and errors of every run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ovbench.drawing.colours import INVENTED, MISSED, MISTAKEN, RGB
from ovbench.leaderboards.report.charts import histogram
from ovbench.leaderboards.report.contents import Chosen, Contents, Group, ReportedRun
from ovbench.leaderboards.report.markup import Content, Html, el
from ovbench.leaderboards.report.pictures import (
    AnswerPictures,
    Picture,
    Pictures,
    background_of,
)
from ovbench.leaderboards.tables.numbers import percent

_GROUPS: Mapping[Group, str] = {
    "worst": "Worst",
    "median": "Median",
    "best": "Best",
    "changed": "Most changed",
}


def gallery(contents: Contents, pictures: Pictures) -> Html:
    """Distribution of the images' mIoU, and the chosen images with their pictures."""
    return el(
        "section",
        el("h2", "Images"),
        _distribution(contents),
        el("p", pictures.missing, class_="notice") if pictures.missing else None,
        _notes(contents, pictures),
        _controls(contents),
        None if pictures.missing else _legend(contents),
        el("div", [_card(contents, pictures, chosen) for chosen in contents.chosen], id="cards"),
        id="images",
    )


def _distribution(contents: Contents) -> list[Content]:
    found: list[Content] = []
    for run, mious in zip(contents.runs, contents.mious, strict=True):
        scored = mious[~np.isnan(mious)]
        if not len(scored):
            continue
        name = f" of {run.letter}" if len(contents.runs) > 1 else ""
        words = (
            f"mIoU{name} of each of {len(scored):,} images, over the classes that occur in it or "
            "in its answer"
        )
        marks = {"median": float(np.median(scored)), "mean": float(scored.mean())}
        found += [el("p", words, class_="quiet"), histogram(scored, "%", marks)]
    return found


def _notes(contents: Contents, pictures: Pictures) -> Html | None:
    """Which answers were made again, and whether they are what was counted."""
    lines = []
    for run, answers, differences in zip(
        contents.runs, pictures.answers, pictures.differences, strict=False
    ):
        again = sum(one.again for one in answers.values())
        differing = sum(one.differs for one in answers.values())
        name = f"{run.letter}: " if len(contents.runs) > 1 else ""
        if again:
            lines.append(
                f"{name}{again} predictions were not kept and were made again; "
                f"{differing or 'none'} of all {len(answers)} differ from what the record counted."
            )
        elif differing:
            lines.append(f"{name}{differing} predictions differ from what the record counted.")
        lines += [f"{name}the method that was asked again: {one}." for one in differences]
    return el("ul", [el("li", line) for line in lines], class_="marks") if lines else None


def _controls(contents: Contents) -> Html:
    groups = [group for group in _GROUPS if any(group in one.groups for one in contents.chosen)]
    buttons = [
        el("button", title, type="button", data_group=group, aria_pressed=pressed)
        for group, title, pressed in [
            ("", "All", "true"),
            *((group, _GROUPS[group], "false") for group in groups),
        ]
    ]
    search = el("input", type="search", data_filters="cards", placeholder="image id or class")
    return el(
        "p",
        el("span", buttons, role="group", aria_label="Which images", class_="buttons"),
        el("label", "Find ", search),
        el("span", role="status", class_="quiet", data_counts="cards"),
        class_="controls",
    )


def _legend(contents: Contents) -> Html:
    missed = background_of(contents.reference.measured) is not None
    kinds = [
        *([(MISSED, "class answered with background")] if missed else []),
        *([(INVENTED, "background answered with a class")] if missed else []),
        (MISTAKEN, "class answered with another one" if missed else "wrong class"),
    ]
    return el(
        "p",
        "Errors: ",
        [[_swatch(colour), words, " "] for colour, words in kinds],
        el("i", class_="swatch hatched"),
        "not scored",
        class_="quiet legend",
    )


def _card(contents: Contents, pictures: Pictures, chosen: Chosen) -> Html:
    image = chosen.image
    labels = _labels(contents, image)
    names = contents.reference.measured.labels
    title = el(
        "h3",
        el("code", image),
        [el("span", _GROUPS[group], class_="tag") for group in chosen.groups],
        el("span", _mious(contents, image), class_="figures"),
    )
    return el(
        "article",
        title,
        el("p", pictures.problems[image], class_="notice") if image in pictures.problems else None,
        _strip(contents, pictures, image),
        el("ul", [_class(contents, pictures, image, label) for label in labels], class_="labels"),
        class_="card",
        data_groups=" ".join(chosen.groups),
        data_search="\n".join([image, *(names[label] for label in labels)]).lower(),
    )


def _mious(contents: Contents, image: str) -> list[Content]:
    several = len(contents.runs) > 1
    return [
        [" mIoU " if not place else " ", run.letter + " " if several else "",
         el("strong", percent(contents.miou(place, image)))]
        for place, run in enumerate(contents.runs)
    ]  # fmt: skip


def _strip(contents: Contents, pictures: Pictures, image: str) -> Html | None:
    if (sample := pictures.samples.get(image)) is None:
        return None
    figures = [_figure(one, "prompt") for one in sample.prompts]
    figures += [_figure(sample.image, "image"), _figure(sample.label, "ground truth")]
    notes = []
    for run, answers in zip(contents.runs, pictures.answers, strict=True):
        letter = f"{run.letter} " if len(contents.runs) > 1 else ""
        answer = answers.get(image, AnswerPictures())
        if answer.prediction and answer.errors:
            figures.append(_figure(answer.prediction, f"{letter}prediction"))
            figures.append(_figure(answer.errors, f"{letter}errors"))
        if answer.note:
            notes.append(el("p", f"{letter}{answer.note}", class_="notice"))
    return Html(el("div", figures, class_="strip") + "".join(notes))


def _figure(picture: Picture, caption: str) -> Html:
    drawn = el("img", src=picture.uri, width=picture.width, height=picture.height, alt=caption,
               decoding="async")  # fmt: skip
    return el("figure", drawn, el("figcaption", caption))


def _labels(contents: Contents, image: str) -> list[int]:
    """The labels in ground truth or an answer, in order."""
    found: set[int] = set()
    for run in contents.runs:
        counted = run.measured.records.images[image].confusion
        found |= {*counted.gt.tolist(), *counted.pred.tolist()}
    return sorted(found)


def _class(contents: Contents, pictures: Pictures, image: str, label: int) -> Html:
    """A label's colour, name and IoU in the image, by run."""
    colour = pictures.colours.get(label)
    ious = [percent(_iou(run, image, label)) for run in contents.runs]
    return el(
        "li",
        _swatch(colour) if colour else None,
        contents.reference.measured.labels[label],
        el("span", " / ".join(ious), class_="quiet"),
    )


def _iou(run: ReportedRun, image: str, label: int) -> float | None:
    counted = run.measured.records.images[image].confusion
    truth, answer = counted.gt == label, counted.pred == label
    union = int(counted.pixels[truth | answer].sum())
    return 100 * int(counted.pixels[truth & answer].sum()) / union if union else None


def _swatch(colour: RGB) -> Html:
    return el("i", class_="swatch", style=f"background:rgb{colour}")
