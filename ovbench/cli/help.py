"""How every command's help looks: options in titled panels, one kind of metavar, an example."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand, TyperOption

_PANELS = {
    "Method": "method preset settings set checkpoints classes filter-set seed seeds name",
    "Data": "dataset root split background names variant subset prompts shots limit encoding "
    "unanswered skip-bad drop-bad n at",
    "Pictures of classes": "model prompt negative solver steps guidance peak-normalised count "
    "threshold",
    "Computing": "device precision batch-size workers precisions batch-sizes sizes repeats warmup "
    "trials samples keep-archives fresh",
    "What is shown": "metric columns sort average images pictures with-reported reported",
    "Reference": "paper expected pin tolerance",
    "Output": "output json format update save-predictions labels plot to logdir project quiet",
}
_PANEL_OF = {f"--{name}": panel for panel, names in _PANELS.items() for name in names.split()}

EXAMPLES = {
    "run": "--method maskclip --dataset voc --root ~/data --output runs/maskclip-voc",
    "tune": "--method pnp_ovss --dataset voc --root ~/data --limit 50",
    "segment": 'photo.jpg --method maskclip --names "cat, dog"',
    "explain": "runs/ovdiff-voc 2007_000033 --at 120,80",
    "profile": "maskclip pnp_ovss --dataset voc --root ~/data --batch-sizes 1,4",
    "score": "my_label_maps/ --dataset voc --root ~/data --name mine",
    "leaderboard": "runs/ --format latex --columns miou,s_per_image --average",
    "compare": "runs/maskclip-voc runs/pnp_ovss-voc",
    "report": "runs/maskclip-voc --root ~/data --output maskclip.html",
    "rescore": "runs/maskclip-voc",
    "regress": "runs/ --expected pins/ --json",
    "export": "runs/ --to tensorboard --logdir runs/tensorboard",
    "check": "maskclip --checkpoints toy",
    "list methods": "maskclip",
    "list datasets": "voc --json",
    "list checkpoints": "--json",
    "datasets prepare": "voc --root ~/data",
    "datasets verify": "voc --root ~/data",
    "datasets show": "voc --root ~/data --n 12 --output voc.png",
    "support show": "cat dog --method rim --output support.png",
    "support list": "--json",
}
"""What stands behind each command's name in the example that ends its help."""


def add(app: typer.Typer, name: str, function: Callable[..., Any], group: str = "") -> None:
    """Make a function a command.

    Args:
        group: the name of the app, where it is not the first.
    """
    words = f"{group} {name}".strip()
    epilog = f"Example: ovbench {words} {EXAMPLES[words]}"
    app.command(name, cls=Command, epilog=epilog)(function)


class Command(TyperCommand):
    """A command whose options say what they take by one kind of word, and stand in panels."""

    def get_params(self, ctx: Any) -> Any:
        """The options and arguments, dressed for help."""
        params = super().get_params(ctx)
        hints = get_type_hints(self.callback) if self.callback else {}
        for param in params:
            if isinstance(param, TyperOption):
                param.rich_help_panel = _PANEL_OF.get(param.opts[0], param.rich_help_panel)
            if param.metavar is None and isinstance(param, TyperOption):
                param.metavar = _metavar(hints.get(param.name or "", bool))
        return params


def _metavar(hint: Any) -> str:
    """What an option of a type takes; nothing for a switch."""
    if get_origin(hint) is Literal:
        return "|".join(map(str, get_args(hint)))
    if inner := [one for one in get_args(hint) if one is not NoneType]:
        return _metavar(inner[0])
    return {bool: "", int: "N", float: "X", Path: "PATH"}.get(hint, "NAME")
