"""The loop that all roles share, where it keeps the best model and not the last."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ovbench.toyworld.train.running.loop import fit
from ovbench.toyworld.train.running.options import Options


def run(options: Options, scores: list[float] | None, stop: int = 99) -> tuple[nn.Module, bool]:
    """A model that changes in every step, and whether it was killed before step ``stop``."""
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def loss(step: int) -> Tensor:
        if step == stop:
            raise InterruptedError
        return model(torch.ones(1, 2)).sum()

    score = (lambda: scores.pop(0)) if scores is not None else None
    try:
        fit(model, optimizer, loss, options, warmup=1, score=score)
    except InterruptedError:
        return model, True
    return model, False


def test_the_best_of_the_saved_states_is_kept(tmp_path: Path) -> None:
    stopped, _ = run(Options(tmp_path / "a", 6, save_every=2), None, stop=4)
    last, _ = run(Options(tmp_path / "b", 6, save_every=2), None)
    best, _ = run(Options(tmp_path / "c", 6, save_every=2), [1.0, 3.0, 2.0])
    for name, weight in best.state_dict().items():
        assert torch.equal(weight, stopped.state_dict()[name])
        assert not torch.equal(weight, last.state_dict()[name])


def test_a_killed_run_knows_the_best_that_it_had(tmp_path: Path) -> None:
    whole, _ = run(Options(tmp_path / "whole", 6, save_every=2), [1.0, 3.0, 2.0])
    broken = Options(tmp_path / "broken", 6, save_every=2)
    assert run(broken, [1.0, 3.0], stop=5)[1]
    resumed, killed = run(broken, [2.0])
    assert not killed
    for name, weight in resumed.state_dict().items():
        assert torch.equal(weight, whole.state_dict()[name])
