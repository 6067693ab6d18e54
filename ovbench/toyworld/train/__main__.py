"""``python -m ovbench.toyworld.train ROLE``: train a miniature model from scratch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

from ovbench.errors import OvbenchError
from ovbench.toyworld.arguments import positive
from ovbench.toyworld.train.running.options import Options

ROLES: Mapping[str, str] = {
    "clip": "clip",
    "groupvit": "groupvit",
    "tcl": "tcl",
    "blip": "blip",
    "bridgetower": "bridgetower",
    "dino": "dino",
    "dinov2": "dinov2",
    "stable_diffusion": "stable_diffusion",
    "sam": "sam",
    "saliency": "saliency",
    "lseg": "lseg",
    "seggpt": "in_context.seggpt",
    "painter": "in_context.painter",
    "simseg": "pooled.simseg",
    "clippy": "pooled.clippy",
    "classifier": "classifier",
    "radio": "radio",
    "reco": "reco",
}
"""Where in ``roles`` each has its module, with ``STEPS`` and ``train(options)``."""


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, train, and return the exit code."""
    asked = _parser().parse_args(arguments)
    from ovbench.toyworld.train.running.device import require  # torch, which --help does without

    module = import_module(f"ovbench.toyworld.train.roles.{ROLES[asked.role]}")
    train: Callable[[Options], None] = module.train
    steps = module.STEPS if asked.steps is None else asked.steps
    output = asked.output or Path("toyworld-weights") / asked.role
    try:
        require(asked.device)
        train(Options(output, steps, asked.device, asked.seed))
    except OvbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ovbench.toyworld.train",
        description="Train a miniature model on rendered scenes. An interrupted run goes on "
        "where it was when the same command is given again.",
    )
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("--steps", type=positive, help="optimizer steps (default: the recipe's)")
    parser.add_argument("--device", default="cpu", help="a torch device (default: cpu)")
    parser.add_argument("--output", type=Path, help="default: toyworld-weights/ROLE")
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
