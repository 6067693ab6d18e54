"""``ovbench segment``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovbench.cli.shared import options as opt

if TYPE_CHECKING:
    from rich.table import Table

    from ovbench.harness.contract.arrays import LabelMap
    from ovbench.harness.contract.vocabulary import Vocabulary


def segment(
    image: Annotated[Path, typer.Argument(help="A picture.")],
    method: opt.MethodName,
    names: Annotated[str, typer.Option("--names", help="What to look for: 'cat, dog'.")],
    background: Annotated[bool, typer.Option(help="Whether a pixel may be none of these.")] = True,
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--prompts", help="Pictures of the classes: a folder with a folder per class."
        ),
    ] = None,
    checkpoints: opt.Weights = "real",
    preset: opt.Preset = None,
    settings_file: opt.SettingsFile = None,
    settings: opt.Set = None,
    device: opt.Device = "auto",
    precision: opt.Precision = "fp32",
    seed: opt.Seed = 0,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", metavar="FILE", help="Also write the label map, an index PNG."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="PNG; default <image>-<method>.png."),
    ] = None,
) -> None:
    """Segment one picture and draw it with its labels and a legend; no dataset is needed."""
    from ovbench.cli.shared.console import say, show
    from ovbench.datasets.names.lines import names_between
    from ovbench.datasets.prompting.prompts import show_names
    from ovbench.datasets.reading.contact_sheet import contact_sheet
    from ovbench.errors import UsageError
    from ovbench.harness.contract.datasets import Sample
    from ovbench.harness.contract.vocabulary import Vocabulary
    from ovbench.harness.files.atomic import replacing
    from ovbench.harness.files.images import read_image, write_label
    from ovbench.harness.registry.methods import load_method
    from ovbench.harness.registry.settings_file import given_settings
    from ovbench.harness.run.asking import ask, prepare

    asked = [name for name in names_between(names, "--names") if name]
    if not asked or len(set(asked)) < len(asked):
        raise UsageError(f"--names {names!r}: name one class or more, each once, between commas")
    if Path(names).is_file():
        raise UsageError(f"--names {names}: a file; write the names themselves, as 'cat, dog'")
    picture, vocabulary = (
        read_image(image, upright=True),
        Vocabulary.of(*asked, background=background),
    )
    if prompts is not None:
        vocabulary = show_names(vocabulary, prompts)
    loaded = load_method(
        method,
        preset=preset,
        settings=given_settings(settings_file, method, settings),
        device=device,
        precision=precision,
        checkpoints=checkpoints,
        seed=seed,
    )
    prepare(loaded.segmenter, vocabulary)
    (answer,) = ask(loaded.segmenter, [picture])
    path = output or Path(f"{image.stem}-{method}.png")
    sheet = contact_sheet(vocabulary, [Sample(image.name, picture, answer)])
    with replacing(path) as temporary:
        sheet.save(temporary, "PNG")
    if labels is not None:
        write_label(labels, answer)
    show(_shares(vocabulary, answer))
    say(path)


def _shares(vocabulary: Vocabulary, answer: LabelMap) -> Table:
    import numpy as np
    from rich.table import Table

    table = Table("class", "share of pixels")
    counts = np.bincount(answer.ravel(), minlength=len(vocabulary))
    for name, count in zip(vocabulary.names, counts.tolist(), strict=True):
        table.add_row(name, f"{100 * count / answer.size:.2f} %")
    return table
