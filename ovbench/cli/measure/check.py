"""``ovbench check``."""

from __future__ import annotations

import typer

from ovbench.cli.shared import options as opt


def check(
    method: opt.MethodArgument,
    checkpoints: opt.Checkpoints = "auto",
    preset: opt.Preset = None,
    settings_file: opt.SettingsFile = None,
    settings: opt.Set = None,
    device: opt.Device = "auto",
    precision: opt.Precision = "fp32",
    seed: opt.Seed = 0,
) -> None:
    """Hold a method to the protocol: the conformance kit for adapter authors.

    Exit code 1 if a check fails.
    """
    from rich.table import Table

    from ovbench.cli.shared.console import show, styled
    from ovbench.datasets import load_dataset
    from ovbench.harness.registry.methods import Method, load_method
    from ovbench.harness.registry.settings_file import given_settings
    from ovbench.harness.run.conformance import conformance_checks

    things, stuff = load_dataset("toyworld"), load_dataset("toyworld_stuff")
    given = given_settings(settings_file, method, settings)

    def build() -> Method:
        return load_method(
            method,
            preset=preset,
            settings=given,
            device=device,
            precision=precision,
            checkpoints=opt.flavour(checkpoints, things.info),
            seed=seed,
        )

    table = Table("check", "", "finding", title=f"Conformance of {method}", title_justify="left")
    failed = 0
    images = [things.load(index).image for index in range(4)]
    for outcome in conformance_checks(build, (things.vocabulary, stuff.vocabulary), images):
        failed += not outcome.passed
        verdict = "ok" if outcome.passed else styled("FAILED", "red")
        table.add_row(outcome.name, verdict, outcome.finding)
    show(table)
    if failed:
        raise typer.Exit(1)
