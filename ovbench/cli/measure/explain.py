"""``ovbench explain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovbench.cli.shared import options as opt

if TYPE_CHECKING:
    from ovbench.harness.contract.arrays import Image
    from ovbench.harness.contract.datasets import Dataset


def explain(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    image: Annotated[
        str,
        typer.Argument(help="Its id in the run's dataset, or a file."),
    ],
    at: Annotated[str, typer.Option("--at", metavar="X,Y", help="The pixel, from top left.")],
    root: opt.Root = None,
    device: opt.Device = "auto",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="PNG; default <image>-<X>-<Y>.png."),
    ] = None,
) -> None:
    """Say why the method of a run gives a pixel its label, and draw what it goes by."""
    from ovbench.cli.shared.console import save_picture, say, tell
    from ovbench.datasets.derived.recorded import load_recorded
    from ovbench.drawing.explanation import evidence_words, explanation_page
    from ovbench.errors import UsageError
    from ovbench.harness.contract.explaining import Explaining
    from ovbench.harness.results.store import RunStore
    from ovbench.harness.run.asking import prepare
    from ovbench.harness.run.replay import differences, method_of
    from ovbench.harness.run.seeding import seed_everything

    identity = RunStore(run).identity()
    if identity is None:
        raise UsageError(f"{run}: no run directory; `ovbench run --output` makes one")
    dataset = load_recorded(identity, root=root)
    if identity["classes"] != "all" or dataset.info.prompted:
        raise UsageError(f"{run}: each image was asked for classes of its own; only runs that ask "
                         "for the whole vocabulary can be explained")  # fmt: skip
    picture = _picture(image, dataset)
    x, y = _pixel(at, picture)
    method = method_of(identity, device)
    segmenter, name = method.segmenter, method.subject.name
    if not isinstance(segmenter, Explaining):
        raise UsageError(f"{name} cannot say why; a method that can has explain(image, x, y)")
    if changed := list(differences(identity, method)):
        tell(f"{name} is not what {run} measured: {'; '.join(changed)}")
    seed_everything(identity["seed"])
    prepare(segmenter, dataset.vocabulary)
    found = segmenter.explain(picture, x, y)
    answer = dataset.vocabulary.names[found.label]
    path = output or Path(f"{Path(image).stem}-{x}-{y}.png")
    say(f"{name} answers {answer!r} at {x},{y}")
    for evidence in found.evidence:
        say(evidence_words(evidence))
    save_picture(explanation_page(picture, x, y, answer, found), path)


def _picture(image: str, dataset: Dataset) -> Image:
    """An image of the dataset, or a file.

    Raises:
        UsageError: neither.
    """
    from ovbench.errors import UsageError
    from ovbench.harness.files.images import read_image

    if image in dataset.ids:
        return dataset.load(list(dataset.ids).index(image)).image
    if not Path(image).is_file():
        raise UsageError(
            f"{image}: neither a file nor an image of {dataset.info.name}, such as {dataset.ids[0]}"
        )
    return read_image(Path(image), upright=True)


def _pixel(text: str, image: Image) -> tuple[int, int]:
    """``"X,Y"`` as a pixel of the image.

    Raises:
        UsageError: it is none.
    """
    from ovbench.errors import UsageError
    from ovbench.harness.contract.checks.whole import whole_number

    height, width = image.shape[:2]
    match [whole_number(part.strip()) for part in text.split(",")]:
        case [int(x), int(y)] if x < width and y < height:
            return x, y
    raise UsageError(
        f"--at {text[:40]}: write X,Y within the image, 0,0 to {width - 1},{height - 1}"
    )
