"""Generators of class-agnostic masks by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

from ovbench.models.regions.cuts import Cuts, PanopticCuts
from ovbench.models.regions.generator import Generator
from ovbench.models.regions.sam_grids import Sam2Grid, SamGrid
from ovbench.models.regions.segments import Panoptic, Superpixels

GeneratorName = Literal["sam_grid", "sam2_grid", "panoptic", "superpixels", "cuts", "panoptic_cuts"]
GENERATORS: Mapping[
    GeneratorName, type[SamGrid | Sam2Grid | Panoptic | Superpixels | Cuts | PanopticCuts]
] = {
    "sam_grid": SamGrid,
    "sam2_grid": Sam2Grid,
    "panoptic": Panoptic,
    "superpixels": Superpixels,
    "cuts": Cuts,
    "panoptic_cuts": PanopticCuts,
}
"""The classes of settings by the names that users give."""


def settings_of(generator: Generator) -> dict[str, Any]:
    """Name and settings, JSON-ready."""
    kind = type(generator)
    known = [name for name, one in GENERATORS.items() if one is kind]
    name = known[0] if known else f"{kind.__module__}.{kind.__qualname__}"
    return {"name": name, **asdict(generator)}  # type: ignore[call-overload]
