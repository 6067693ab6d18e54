"""How a diffusion model is sampled: which solver, how many steps, how much guidance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Solver: TypeAlias = Literal["dpm-solver++", "dpm-solver++0.14", "ddim", "pndm"]
"""Lu et al. 2022 (arXiv 2211.01095), second order, as diffusers has it now and as version 0.14 had
it, which spaced its steps evenly and ended with the noise of the first timestep; Song et al., ICLR
2021, without noise; Liu et al., ICLR 2022, without Runge-Kutta steps, as Stable Diffusion 1.x
comes with it."""

# What a solver needs beyond a checkpoint's configuration, which is written for another one:
# latents are not pixels, so they must not be clipped to -1..1.
_SOLVERS: Mapping[Solver, tuple[str, Mapping[str, Any]]] = {
    "dpm-solver++": ("DPMSolverMultistepScheduler", {}),
    "dpm-solver++0.14": (
        "DPMSolverMultistepScheduler",
        {"timestep_spacing": "linspace", "final_sigmas_type": "sigma_min"},
    ),
    "ddim": ("DDIMScheduler", {"clip_sample": False}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
}


@dataclass(frozen=True, slots=True)
class Sampling:
    """How pictures are made.

    Attributes:
        solver: the ordinary differential equation's; none of them adds noise on the way.
        steps: of the solver, at least 1.
        guidance: the scale of classifier-free guidance (Ho and Salimans 2022); at 1 or below
            there is none, and negative prompts have no effect.
        height, width: in pixels; None is the side that the model was trained on.
        levels: how values between two of the 256 levels of a pixel become one of them.
    """

    solver: Solver = "pndm"
    steps: int = 50
    guidance: float = 7.5
    height: int | None = None
    width: int | None = None
    levels: Literal["rounded", "truncated"] = "rounded"

    def __post_init__(self) -> None:
        if self.solver not in _SOLVERS:
            raise ValueError(f"no solver {self.solver!r}; there are: {', '.join(_SOLVERS)}")
        if self.steps < 1:
            raise ValueError(f"{self.steps} steps; at least 1")

    @property
    def guided(self) -> bool:
        """Whether every step also asks what there would be without the prompt."""
        return self.guidance > 1


def build_solver(solver: Solver, config: Mapping[str, Any]) -> Any:
    """One of diffusers' schedulers, with the noise schedule and prediction type of a checkpoint.

    Args:
        config: of the checkpoint's own scheduler.
    """
    import diffusers

    name, changes = _SOLVERS[solver]
    return getattr(diffusers, name).from_config(dict(config), **changes)
