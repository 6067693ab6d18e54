"""``ovbench support``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ovbench.cli.shared import completion
from ovbench.cli.shared import options as opt
from ovbench.cli.shared.command import Group, add

if TYPE_CHECKING:
    from ovbench.support import Recipe

app = typer.Typer(
    cls=Group, help="Look at the pictures that methods make of classes.", no_args_is_help=True
)


def show(
    classes: Annotated[
        list[str], typer.Argument(metavar="CLASS", help="Names, as they stand in the prompt.")
    ],
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            "-m",
            help="Make them as this method does.",
            autocompletion=completion.methods,
        ),
    ] = None,
    preset: opt.Preset = None,
    settings: opt.Set = None,
    model: Annotated[str | None, typer.Option(help="See `ovbench list checkpoints`.")] = None,
    prompt: Annotated[str | None, typer.Option(help="With {} where the name stands.")] = None,
    negative: Annotated[str | None, typer.Option(help="What no picture shall show.")] = None,
    solver: Annotated[
        Literal["dpm-solver++", "ddim", "pndm"] | None,
        typer.Option("--solver", help="Of the diffusion."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Of the solver.")] = None,
    guidance: Annotated[float | None, typer.Option(help="1 and below is none.")] = None,
    peak_normalised: Annotated[
        bool | None,
        typer.Option(help="Divide each layer's and step's attention by its peak, or do not."),
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, help="Pictures per class.")] = 8,
    threshold: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Of the mask: 0 at a picture's weakest place, 1 at its strongest."
        ),
    ] = 0.5,
    checkpoints: opt.Weights = "real",
    device: opt.Device = "auto",
    precision: opt.Precision = "fp32",
    seed: opt.Seed = 0,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="PNG.")] = Path(
        "support.png"
    ),
) -> None:
    """Draw the pictures of some classes, and where their names act in them.

    What is not in the cache is made first. Of a method's recipe the options change what they
    name; without a method they change a common one.
    """
    from ovbench.cli.shared.console import save_picture
    from ovbench.harness.contract.runtime import Runtime
    from ovbench.harness.registry.methods import resolve_device
    from ovbench.support import SupportSets
    from ovbench.support.sheet import support_sheet

    runtime = Runtime(resolve_device(device), precision, checkpoints, seed)
    recipe = _changed(
        _recipe(method, preset, settings or [], seed),
        {"model": model, "prompt": prompt, "negative": negative},
        {"solver": solver, "steps": steps, "guidance": guidance},
        {"peak_normalised": peak_normalised},
    )
    sets = SupportSets(recipe, runtime).make(classes, count)
    save_picture(support_sheet(sets, threshold), output)


def list_(as_json: opt.AsJson = False) -> None:
    """List what is kept, how large it is and where."""
    from dataclasses import asdict

    from rich.filesize import decimal
    from rich.table import Table

    from ovbench.cli.shared.console import say, say_json, show
    from ovbench.harness.files.cache import cache_home
    from ovbench.support.stored import stored_arrays, stored_sets

    sets, arrays = stored_sets(), list(stored_arrays())
    if as_json:
        say_json({"sets": [asdict(s) for s in sets], "arrays": [asdict(a) for a in arrays]})
        return
    table = Table("prompt", "pictures", "size", "sampling", "model")
    for item in sets:
        size = decimal(item.bytes)
        how, model = _words(item.key)
        drawn = how if item.is_of_this_code else f"{how}, drawn by other code"
        table.add_row(item.key["prompt"], str(item.pictures), size, drawn, model)
    for kind in arrays:
        table.add_row(f"{kind.kind}: {kind.files}", "", decimal(kind.bytes), "", "")
    show(table)
    total = sum(item.bytes for item in sets) + sum(kind.bytes for kind in arrays)
    say(f"{decimal(total)} in {cache_home()}; what is deleted there is made again when needed")


def _recipe(method: str | None, preset: str | None, settings: list[str], seed: int) -> Recipe:
    """A method's recipe, or one that many would begin with."""
    from ovbench.errors import UsageError
    from ovbench.harness.contract.settings import override, parse_assignments
    from ovbench.harness.registry.names import METHODS
    from ovbench.harness.registry.presets import choose_preset
    from ovbench.support.recipe import common_recipe

    if method is None:
        if preset or settings:
            raise UsageError("--preset and --set go with --method")
        return common_recipe(seed)
    method_class = METHODS.load(method)
    recipe_of = getattr(method_class, "recipe", None)
    if recipe_of is None:
        raise UsageError(f"{method} makes no pictures of its classes")
    chosen = choose_preset(method, method_class, preset)
    values = {**chosen.values, **parse_assignments(settings)}
    recipe: Recipe = recipe_of(override(method_class.Settings, values), seed)
    return recipe


def _changed(
    recipe: Recipe,
    changes: Mapping[str, Any],
    sampling: Mapping[str, Any],
    rule: Mapping[str, Any],
) -> Recipe:
    """The recipe with what is not None."""
    from dataclasses import replace

    def given(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if value is not None}

    return replace(
        recipe,
        **given(changes),
        sampling=replace(recipe.sampling, **given(sampling)),
        rule=replace(recipe.rule, **given(rule)),
    )


def _words(key: Mapping[str, Any]) -> tuple[str, str]:
    """How pictures were sampled, and by what."""
    from ovbench.support.stored import model_of

    sampling = key["sampling"]
    how = f"{sampling['solver']}, {sampling['steps']} steps, guidance {sampling['guidance']:g}"
    return how, model_of(key["weights"][0]["name"])


add(app, "show", show, "support")
add(app, "list", list_, "support")
