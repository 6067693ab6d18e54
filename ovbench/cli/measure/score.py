"""``ovbench score``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ovbench.cli.shared import options as opt


def score(
    predictions: Annotated[Path, typer.Argument(help="Folder with one <image id>.png per image.")],
    dataset: opt.DatasetName,
    root: opt.Root = None,
    split: opt.Split = None,
    background: opt.Background = None,
    names: opt.Names = None,
    variant: opt.Variant = None,
    subset: opt.Subset = None,
    encoding: Annotated[
        Literal["index", "dataset"],
        typer.Option(
            "--encoding",
            help="index: values are label indices; dataset: encoded as the dataset's own files.",
        ),
    ] = "index",
    unanswered: Annotated[
        Literal["error", "miss", "ignore"],
        typer.Option(
            "--unanswered",
            help="Of a scored pixel without a label. miss: it is wrong (mmsegmentation, ADE20K, "
            "Cityscapes, MESS); ignore: it is left out (detectron2).",
        ),
    ] = "error",
    name: Annotated[str | None, typer.Option("--name", help="Shown in tables.")] = None,
    limit: opt.Limit = None,
    workers: opt.Workers = None,
    skip_bad: opt.SkipBad = False,
    output: opt.Output = None,
    as_json: opt.AsJson = False,
) -> None:
    """Score label maps made elsewhere, exactly as a method's answers are scored."""
    from ovbench.cli.progress.run import observer
    from ovbench.cli.shared.console import tell
    from ovbench.cli.shared.show import show_result
    from ovbench.datasets import load_dataset
    from ovbench.harness.run.predictions import score_folder
    from ovbench.harness.run.runner import Options

    data = load_dataset(
        dataset,
        root=root,
        split=split,
        background=background,
        names=names,
        variant=variant,
        subset=subset,
    )
    options = Options(limit=limit, workers=workers, skip_bad=skip_bad, command=opt.command_line())
    with observer(f"score {predictions.name} on {dataset}", data) as watching:
        result = score_folder(
            predictions,
            data,
            name=name,
            encoding=encoding,
            unanswered=unanswered,
            output=output,
            kept=True,
            options=options,
            observer=watching,
        )
    if result is not None:
        for warning in result["run"]["warnings"]:
            tell(f"warning: {warning}")
        show_result(result, as_json, output)
