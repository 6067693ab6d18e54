"""``ovbench run``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ovbench.cli.shared import completion
from ovbench.cli.shared import options as opt


def run(
    method: Annotated[
        str,
        typer.Option(
            "--method",
            "-m",
            help="See `ovbench list methods`; several as A,B.",
            metavar="NAME,...",
            autocompletion=completion.methods,
        ),
    ],
    dataset: Annotated[
        str,
        typer.Option(
            "--dataset",
            "-d",
            help="See `ovbench list datasets`; several as A,B.",
            metavar="NAME,...",
        ),
    ],
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
    seed: opt.OneSeed = None,
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
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress: only the result, and what is wrong.")
    ] = False,
    as_json: opt.AsJson = False,
) -> None:
    """Measure a method on a dataset; the same command finishes a run that was cut short.

    Of several methods or datasets every pair is a run of its own, below --output or in its
    default directory. Start it under `torchrun --nproc-per-node N -m ovbench run ...` to share
    the images among several processes or machines.
    """
    from functools import cache
    from itertools import product

    from ovbench.cli.progress.run import observer
    from ovbench.cli.shared.console import say_json
    from ovbench.datasets import load_dataset
    from ovbench.errors import UsageError
    from ovbench.harness.contract.datasets import Dataset
    from ovbench.harness.contract.published import PUBLISHED
    from ovbench.harness.contract.settings import parse_assignments
    from ovbench.harness.registry.filters import load_filter
    from ovbench.harness.registry.glance import refuse_missing_packages, refuse_unknown_names
    from ovbench.harness.registry.methods import choose_method, load_method
    from ovbench.harness.registry.settings_file import given_settings, read_tuning
    from ovbench.harness.results.seeds import directory_of_seed, parse_seeds
    from ovbench.harness.run.runner import Options, run_of

    methods, datasets = opt.listed(method, "--method"), opt.listed(dataset, "--dataset")
    if seeds is not None and seed is not None:
        raise UsageError("--seed goes without --seeds, which names them all")
    several = None if seeds is None else parse_seeds(seeds)
    given = {name: given_settings(settings_file, name, settings) for name in methods}
    for name in methods:
        refuse_unknown_names(name, preset, given[name])
        refuse_missing_packages(name)
    filter_given = parse_assignments(filter_settings or [], "--filter-set")
    if filter_given and classes != "predicted":
        raise UsageError("--filter-set goes with --classes predicted only")

    @cache
    def opened(benchmark: str, names_of: tuple[str, ...]) -> Dataset:
        return load_dataset(
            benchmark,
            root=root,
            split=split,
            background=background,
            names=names,
            variant=variant,
            subset=subset,
            prompts=prompts,
            shots=shots,
            seed=seed or 0,
            names_of=names_of,
        )

    data_of = {
        (name, benchmark): opened(benchmark, (name,) if preset == PUBLISHED else ())
        for name, benchmark in product(methods, datasets)
    }
    for (name, _), data in data_of.items():  # what is wrong with the last is told before the first
        choose_method(name, preset, given[name], data.info)
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

    def measure(
        name: str, data: Dataset, seed: int, title: str, output: Path | None
    ) -> dict[str, Any] | None:
        with observer(title, data, quiet=quiet) as watching:
            loaded = load_method(
                name,
                preset=preset,
                benchmark=data.info,
                settings=given[name],
                tuning=read_tuning(settings_file, name),
                device=device,
                precision=precision,
                checkpoints=opt.flavour(checkpoints, data.info),
                seed=seed,
            )
            class_filter = None
            if classes == "predicted":
                class_filter = load_filter(settings=filter_given, runtime=loaded.subject.runtime)
            asked = run_of(
                loaded, data, class_filter=class_filter, options=run_options, observer=watching
            )
            return asked.execute(output, kept=True)

    documents: list[dict[str, Any]] = []
    for (name, benchmark), data in data_of.items():
        title = f"{name} on {benchmark}"
        place = output / f"{name}-{benchmark}" if output and len(data_of) > 1 else output
        if several is None:
            found = [measure(name, data, seed or 0, title, place)]
        else:
            found = [
                measure(name, data, one, f"{title}, seed {one}", directory_of_seed(place, one))
                for one in several
            ]
        whole = [result for result in found if result is not None]
        if whole:  # else this is another process than the first
            documents.append(_shown(whole, several is not None, as_json, place))
    if as_json and documents:
        say_json(documents if len(data_of) > 1 else documents[0])


def _shown(
    results: Sequence[dict[str, Any]], over: bool, as_json: bool, output: Path | None
) -> dict[str, Any]:
    """One result, or what several say together ``over`` seeds; printed, unless as JSON later."""
    from ovbench.cli.shared.show import show_result, show_seeds
    from ovbench.harness.results.seeds import keep_summary, over_seeds

    if not over:
        if not as_json:
            show_result(results[0], False, output)
        return results[0]
    summary = over_seeds(results)
    path = keep_summary(summary, output)
    if not as_json:
        show_seeds(summary, path)
    return summary
