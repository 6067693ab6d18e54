"""Files that authors wrote: what is not weights is refused in one line, and never run."""

from __future__ import annotations

import importlib
import sys
import types
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ovbench.errors import UsageError
from ovbench.models.weights.authors import fitted, weights_in


class Config(dict[str, int]):
    """What such files often hold beside the weights."""


class Shout:
    """Calls a function, if it is read as pickles are."""

    def __init__(self, module: str, name: str) -> None:
        self.function = getattr(importlib.import_module(module), name)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return self.function, (RUN,)


RUN = "ran.txt"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"model": {"a": torch.ones(1)}, "config": Shout("os", "system")}, "can run code"),
        ({"model": {"a": Config()}}, "no weights under 'model'"),
        ({"state": {"a": torch.ones(1)}}, "no weights under 'model'"),
        ({"model": {"a": 3}}, "no weights under 'model'"),
        ([torch.ones(1)], "no weights under 'model'"),
        (b"", "cannot be loaded|damaged"),
        (b"no weights at all", "cannot be loaded|damaged"),
    ],
)
def test_what_is_not_weights(content: object, said: str, tmp_path: Path) -> None:
    file = tmp_path / "model.pth"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(UsageError, match=said) as caught:
        weights_in(file, "model")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(file))


def test_weights(tmp_path: Path) -> None:
    file = tmp_path / "model.pth"
    torch.save({"model": {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}, "epoch": 3}, file)
    found = fitted(nn.Linear(3, 2), weights_in(file, "model"), file)
    assert torch.equal(found.weight, torch.ones(2, 3))
    torch.save({"weight": torch.ones(2, 3)}, file)
    assert weights_in(file, "model").keys() == {"weight"}  # there is nothing else in it


def test_the_version_of_torch_may_stand_beside_them(tmp_path: Path) -> None:
    file = tmp_path / "model.pth"
    torch.save({"model": {"weight": torch.ones(2)}, "version": torch.__version__}, file)
    assert weights_in(file, "model").keys() == {"weight"}


def test_weights_alone(tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    torch.save({"weight": torch.ones(2, 3), "bias": torch.zeros(2)}, file)
    assert fitted(nn.Linear(3, 2), weights_in(file), file).weight.sum() == 6
    torch.save({"model": {"weight": torch.ones(2, 3)}, "epoch": 3}, file)
    with pytest.raises(UsageError, match=r"holds no weights alone$"):
        weights_in(file)


def test_what_lies_beside_weights_is_neither_imported_nor_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As trainers leave it: configurations, counts by default, numbers of numpy."""
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("nowhere")
    module.Trainer = type("Trainer", (), {"__module__": "nowhere"})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nowhere", module)
    trainer = module.Trainer()
    trainer.losses, trainer.kind = [0.5], Any
    content = {
        "model": OrderedDict(weight=torch.ones(2, 3), bias=torch.zeros(2)),
        "config": trainer,
        "metrics": defaultdict(float, miou=np.float64(52.3)),
        "shout": Shout("os", "mkdir"),
        "shouts": [Shout("pathlib", "Path"), Shout("shutil", "rmtree")],
    }
    torch.save(content, tmp_path / "model.pth")
    monkeypatch.delitem(sys.modules, "nowhere")
    (tmp_path / RUN).mkdir()
    with pytest.raises(UsageError, match="can run code"):
        weights_in(tmp_path / "model.pth", "model")
    del content["shout"]
    monkeypatch.setitem(sys.modules, "nowhere", module)
    torch.save(content, tmp_path / "model.pth")
    monkeypatch.delitem(sys.modules, "nowhere")
    found = weights_in(tmp_path / "model.pth", "model")
    assert found.keys() == {"weight", "bias"}
    assert (tmp_path / RUN).is_dir()


def test_many_names_are_counted(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"lacks bias, weight, and has in addition a, b, c and 2 m"
    ):
        fitted(nn.Linear(3, 2), {name: torch.ones(1) for name in "abcde"}, tmp_path / "model.pth")
