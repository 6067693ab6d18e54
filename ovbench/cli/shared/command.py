"""How every command's help looks, in titled panels with an example; wrong words are one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from ovbench.errors import UsageError, outliving_exits

_PANELS = {
    "Method": "method preset settings set checkpoints classes filter-set seed seeds name",
    "Data": "dataset root split background names variant subset prompts shots limit encoding "
    "unanswered skip-bad drop-bad n at",
    "Regions": "generator fuse on-top",
    "Pictures of classes": "model prompt negative solver steps guidance peak-normalised count "
    "threshold",
    "Computing": "device precision batch-size workers precisions batch-sizes sizes repeats warmup "
    "trials samples keep-archives fresh jobs lines retry-failed try executor time-limit nodes "
    "gpus-per-node sbatch detach",
    "What is shown": "all metric columns sort average images pictures with-reported reported "
    "supervision by-supervision dry-run fetch title",
    "Reference": "paper expected pin tolerance",
    "Output": "output json markdown format update save-predictions labels plot to logdir project "
    "quiet replace",
}
_PANEL_OF = {f"--{name}": panel for panel, names in _PANELS.items() for name in names.split()}

EXAMPLES = {
    "run": "--method maskclip --dataset voc --root ~/data --output runs/maskclip-voc",
    "suite": "training-free-2026 --root ~/data --dry-run",
    "status": "runs/",
    "tune": "--method pnp_ovss --dataset voc --root ~/data --limit 50",
    "segment": 'photo.jpg --method maskclip --names "cat, dog"',
    "explain": "runs/ovdiff-voc 2007_000033 --at 120,80",
    "profile": "maskclip pnp_ovss --dataset voc --root ~/data --batch-sizes 1,4",
    "score": "my_label_maps/ --dataset voc --root ~/data --name mine",
    "leaderboard": "runs/ --format latex --columns miou,s_per_image --average",
    "compare": "runs/maskclip-voc runs/pnp_ovss-voc",
    "site": "runs --output site",
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
    "weights list": "tcl",
    "weights fetch": "groupvit --set weights=groupvit_gcc_redcaps",
    "regions show": "photo.jpg --generator sam_grid --set points_per_side=16",
    "support show": "cat dog --method rim --output support.png",
    "support list": "--json",
    "results add": "runs/maskclip-voc --output results",
    "results check": "results --json",
    "new method": "my_method",
    "new dataset": "my_dataset --output ~/code/my_dataset",
}
"""What stands behind each command's name in the example that ends its help."""


# What typer raises for words that it cannot read; it has no public name.
_Unreadable: type[Exception] = typer.BadParameter.__mro__[1]


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

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The words that are left.

        Raises:
            UsageError: a word that is no option or argument here.
        """
        try:
            return super().parse_args(ctx, args)
        except _Unreadable as error:
            raise _told(error, ctx) from None

    def invoke(self, ctx: Any) -> Any:
        """What the function returns.

        Raises:
            OvbenchError: a method or a dataset ends the program: nothing was done in full.
        """
        with outliving_exits():
            return super().invoke(ctx)

    def get_params(self, ctx: Any) -> Any:
        """The options and arguments, dressed for help."""
        return _dressed(super().get_params(ctx), self.callback)


class Group(TyperGroup):
    """Commands below one name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As :meth:`Command.parse_args`; no words at all are answered by help."""
        try:
            return super().parse_args(ctx, list(args))
        except _Unreadable as error:
            if not args:
                raise
            raise _told(error, ctx) from None

    def get_params(self, ctx: Any) -> Any:
        """As :meth:`Command.get_params`."""
        return _dressed(super().get_params(ctx), self.callback)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the words name.

        Raises:
            UsageError: there is none.
        """
        try:
            return super().resolve_command(ctx, args)
        except _Unreadable as error:
            raise _told(error, ctx) from None


def _dressed(params: Any, function: Callable[..., Any] | None) -> Any:
    hints = get_type_hints(function) if function else {}
    for param in params:
        if isinstance(param, TyperOption):
            param.rich_help_panel = _PANEL_OF.get(param.opts[0], param.rich_help_panel)
            _leave_what_is_absent(param)
            if param.metavar is None:
                param.metavar = _metavar(hints.get(param.name or "", bool))
        elif isinstance(param, TyperArgument):
            _leave_what_is_absent(param)
            argument: Any = param
            argument.metavar = param.metavar or str(param.name).upper()
            argument.display_type_rich = _nothing  # its name says what it is
    return params


def _leave_what_is_absent(param: Any) -> None:
    """Let no reader be made for a value that is not given.

    Typer makes them with pydantic, whose import takes longer than a list of all methods.
    """
    if "process_value" in vars(param) or param.multiple or param.nargs != 1:
        return
    read = param.process_value

    def process_value(ctx: Any, value: Any) -> Any:
        if value is not None or param.required:
            return read(ctx, value)
        return param.callback(ctx, param, None) if param.callback else None

    param.process_value = process_value


def _nothing(ctx: Any) -> None:
    """The type of an argument, as help shows it."""


def _told(error: Any, ctx: Any) -> UsageError:
    words = " ".join(error.format_message().split()).rstrip(".")
    return UsageError(f"{words}; see `{ctx.command_path} --help`")


def _metavar(hint: Any) -> str:
    """What an option of a type takes; nothing for a switch."""
    if get_origin(hint) is Literal:
        return "|".join(map(str, get_args(hint)))
    if inner := [one for one in get_args(hint) if one is not NoneType]:
        return _metavar(inner[0])
    return {bool: "", int: "N", float: "X", Path: "PATH"}.get(hint, "NAME")
