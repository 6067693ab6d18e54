"""``ovbench run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ovbench.cli import options as opt


def run(
    method: Annotated[str, typer.Option("--method", "-m", help="See `ovbench list methods`.")],
    dataset: opt.DatasetName,
    root: opt.Root = None,
    split: opt.Split = None,
    background: opt.Background = None,
    names: opt.Names = None,
    variant: opt.Variant = None,
    subset: opt.Subset = None,
    prompts: opt.Prompts = None,
    shots: opt.Shots = None,
    classes: Annotated[
        Literal["all", "oracle", "predicted"],
        typer.Option(
            "--classes",
            help="Tell the method each image's classes: the true ones, or what a CLIP predicts.",
        ),
    ] = "all",
    filter_settings: Annotated[
        list[str] | None,
        typer.Option(
            "--filter-set",
            help="With --classes predicted, a setting of the CLIP as name=value; repeatable.",
            metavar="K=V",
        ),
    ] = None,
    checkpoints: opt.Checkpoints = "auto",
    preset: opt.Preset = None,
    settings_file: opt.SettingsFile = None,
    settings: opt.Set = None,
    limit: opt.Limit = None,
    device: opt.Device = "auto",
    precision: opt.Precision = "fp32",
    batch_size: opt.BatchSize = 1,
    seed: opt.Seed = 0,
    seeds: Annotated[
        str | None,
        typer.Option(
            "--seeds",
            help="Measure once per seed, as 42,43,44, and report mean and deviation.",
            metavar="A,B,...",
        ),
    ] = None,
    workers: opt.Workers = None,
    save_predictions: Annotated[
        bool, typer.Option("--save-predictions", help="Keep label maps in the run directory.")
    ] = False,
    skip_bad: opt.SkipBad = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Measure again what the run directory holds.")
    ] = False,
    output: opt.Output = None,
    as_json: opt.AsJson = False,
) -> None:
    """Measure a method on a dataset; the same command finishes a run that was cut short.

    Start it under `torchrun --nproc-per-node N -m ovbench run ...` to share the images among
    several processes or machines.
    """
    from ovbench.cli.progress import observer
    from ovbench.cli.show import show_result, show_seeds
    from ovbench.datasets import load_dataset
    from ovbench.errors import UsageError
    from ovbench.harness.filters import load_filter
    from ovbench.harness.methods import load_method
    from ovbench.harness.runner import Options, run_of
    from ovbench.harness.seeds import directory_of_seed, parse_seeds
    from ovbench.harness.settings import parse_assignments
    from ovbench.harness.settings_file import given_settings

    given = given_settings(settings_file, method, settings)
    several = None if seeds is None else parse_seeds(seeds)
    filter_given = parse_assignments(filter_settings or [], "--filter-set")
    if filter_given and classes != "predicted":
        raise UsageError("--filter-set goes with --classes predicted only")
    data = load_dataset(
        dataset,
        root=root,
        split=split,
        background=background,
        names=names,
        variant=variant,
        subset=subset,
        prompts=prompts,
        shots=shots,
        seed=seed,
    )
    run_options = Options(
        classes=classes,
        limit=limit,
        batch_size=batch_size,
        save_predictions=save_predictions,
        skip_bad=skip_bad,
        workers=workers,
        fresh=fresh,
        command=opt.command_line(),
    )

    def measure(seed: int, title: str, output: Path | None) -> dict[str, Any] | None:
        loaded = load_method(
            method,
            preset=preset,
            settings=given,
            device=device,
            precision=precision,
            checkpoints=opt.flavour(checkpoints, data.info),
            seed=seed,
        )
        class_filter = None
        if classes == "predicted":
            class_filter = load_filter(settings=filter_given, runtime=loaded.subject.runtime)
        with observer(title, data) as watching:
            asked = run_of(
                loaded, data, class_filter=class_filter, options=run_options, observer=watching
            )
            return asked.execute(output, kept=True)

    title = f"{method} on {dataset}"
    if several is None:
        result = measure(seed, title, output)
        if result is not None:
            show_result(result, as_json, output)
        return
    results = [
        measure(one, f"{title}, seed {one}", directory_of_seed(output, one)) for one in several
    ]
    whole = [result for result in results if result is not None]
    if whole:
        show_seeds(whole, as_json, output)
