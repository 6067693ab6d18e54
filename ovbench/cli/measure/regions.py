"""``ovbench regions``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ovbench.cli.shared import options as opt
from ovbench.cli.shared.command import Group, add

app = typer.Typer(
    cls=Group, help="Look at the class-agnostic regions of an image.", no_args_is_help=True
)


def show(
    image: Annotated[Path, typer.Argument(help="A picture.")],
    generator: Annotated[
        Literal["sam_grid", "sam2_grid", "panoptic", "superpixels", "cuts"],
        typer.Option("--generator", "-g", help="What makes the masks."),
    ] = "sam_grid",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="K=V", help="A generator's setting as name=value; repeatable."
        ),
    ] = None,
    fused: Annotated[
        bool, typer.Option("--fuse", help="Join masks that hold each other, as TextRegion does.")
    ] = False,
    on_top: Annotated[
        Literal["larger", "smaller", "better"],
        typer.Option("--on-top", help="Which mask is seen where several meet."),
    ] = "larger",
    checkpoints: opt.Weights = "real",
    device: opt.Device = "auto",
    precision: opt.Precision = "fp32",
    seed: opt.Seed = 0,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="PNG; default <image>-regions.png."),
    ] = None,
) -> None:
    """Draw the regions of a picture, from the cache or made and kept."""
    import numpy as np

    from ovbench.cli.shared.console import save_picture, say
    from ovbench.drawing.colours import nth_colour
    from ovbench.drawing.pictures import overlay
    from ovbench.harness.contract.runtime import Runtime
    from ovbench.harness.contract.settings import override, parse_assignments
    from ovbench.harness.files.images import read_image
    from ovbench.harness.registry.methods import resolve_device
    from ovbench.models.regions.generators import GENERATORS
    from ovbench.models.regions.store import Regions

    picture = read_image(image, upright=True)
    chosen = override(GENERATORS[generator], parse_assignments(settings or []))
    runtime = Runtime(resolve_device(device), precision, checkpoints, seed)
    (found,) = Regions(chosen, runtime).masks([picture], watched=True)
    regions = (found.fused() if fused else found).painted(on_top)
    count = int(regions.max())
    colours = {number: nth_colour(number - 1) for number in range(1, count + 1)}
    labels = regions.astype(np.uint32)
    box = (picture.shape[1], picture.shape[0])
    drawn = overlay(picture, labels, colours, count + 1, box)  # no such region: none is hatched
    free = 100 * float(np.mean(regions == 0))
    say(f"{len(found.masks)} masks, {count} regions, {free:.2f} % of the pixels in none")
    save_picture(drawn, output or Path(f"{image.stem}-regions.png"))


add(app, "show", show, "regions")
