"""The training loop that every role shares: it saves its state and resumes from it."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ovbench.errors import UsageError
from ovbench.toyworld.train.running.device import autocast
from ovbench.toyworld.train.running.options import Options

STATE = "training-{}.pt"
"""The state of each stage of an unfinished run, inside its output folder."""

_REPORT_S = 10.0


def fit(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch_loss: Callable[[int], Tensor],
    options: Options,
    warmup: int = 100,
    stage: int = 1,
    score: Callable[[], float] | None = None,
) -> float:
    """Train to ``options.steps``, from the state in ``options.output`` if there is one.

    A step depends on its number and the seed alone, so an interrupted run that is started
    again ends with the same weights as one that was not.

    Args:
        model: trained in place, already on the device.
        optimizer: its learning rates are the peaks of a cosine after ``warmup`` steps.
        batch_loss: the loss of a step, given its number; called under autocast.
        stage: tells apart the states of a run that calls this several times.
        score: how good the model is, asked for whenever a state is saved; the model ends as it
            was when that was highest. Without it, as it was last.

    Returns:
        Seconds spent training, those before an interruption included.

    Raises:
        UsageError: the folder holds the state of a run with another seed or length.
    """
    peaks = [group["lr"] for group in optimizer.param_groups]
    first, before, best = _resume(model, optimizer, options, stage)
    started = reported = time.perf_counter()
    for step in range(first, options.steps):
        torch.manual_seed(options.seed * 1_000_003 + step)
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * cosine(step, options.steps, warmup)
        with autocast(options.device):
            loss = batch_loss(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        now = time.perf_counter()
        if (step + 1) % options.save_every == 0 or step + 1 == options.steps:
            best = _better(best, model, score)
            _save(model, optimizer, options, step + 1, before + now - started, stage, best)
        if now - reported >= _REPORT_S or step + 1 == options.steps:
            reported = now
            _report(step + 1, options.steps, loss.item(), (now - started) / (step + 1 - first))
    if best:
        model.load_state_dict(best["model"])
    return before + time.perf_counter() - started


def cosine(step: int, steps: int, warmup: int) -> float:
    """The learning rate's share of its peak: a linear rise, then half a cosine to zero."""
    rise = min(1.0, (step + 1) / warmup)
    return rise * 0.5 * (1 + math.cos(math.pi * step / steps))


def forget(options: Options) -> None:
    """Remove the saved states of a run that is finished and exported."""
    for state in options.output.glob(STATE.format("*")):
        state.unlink()


def _better(
    best: dict[str, Any] | None, model: nn.Module, score: Callable[[], float] | None
) -> dict[str, Any] | None:
    """The best model and its score, this one's if it is better."""
    if score is None:
        return None
    now = score()
    print(f"score {now:.3f}", file=sys.stderr, flush=True)
    if best and best["score"] >= now:
        return best
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    return {"score": now, "model": state}


def _identity(options: Options) -> dict[str, int]:
    return {"steps": options.steps, "seed": options.seed}


def _save(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    options: Options,
    step: int,
    seconds: float,
    stage: int,
    best: dict[str, Any] | None,
) -> None:
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / STATE.format(stage)
    partial = path.with_suffix(".partial")
    state = {
        "identity": _identity(options),
        "step": step,
        "seconds": seconds,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "best": best,
    }
    torch.save(state, partial)
    os.replace(partial, path)


def _resume(
    model: nn.Module, optimizer: torch.optim.Optimizer, options: Options, stage: int
) -> tuple[int, float, dict[str, Any] | None]:
    """The step to go on with, the seconds spent before it, and the best model until then."""
    path = options.output / STATE.format(stage)
    if not path.exists():
        return 0, 0.0, None
    state = _load(path, options.device)
    if state["identity"] != _identity(options):
        raise UsageError(
            f"{path} belongs to a run with {state['identity']}; use the same --steps and "
            "--seed, another --output, or delete it"
        )
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    print(f"stage {stage}: resumed at step {state['step']}", file=sys.stderr)
    return state["step"], state["seconds"], state["best"]


def _load(path: Path, device: str) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return state


def _report(step: int, steps: int, loss: float, pace: float) -> None:
    left = (steps - step) * pace / 60
    line = f"step {step}/{steps}  loss {loss:.3f}  {1 / pace:.2f} steps/s  {left:.1f} min left"
    print(line, file=sys.stderr, flush=True)
