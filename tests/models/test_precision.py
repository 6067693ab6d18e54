"""Who computes the linear layers of a frozen network, and that it makes no difference."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ovbench.models import precision
from ovbench.models.precision import FrozenLinear, frozen, linear

LARGE = {
    "images": lambda: torch.randn(2, 300, 128),
    "one image for all": lambda: torch.randn(1, 300, 128).expand(3, -1, -1),
    "places first": lambda: torch.randn(2, 128, 20, 20).flatten(2).mT,
    "part of the features": lambda: torch.randn(600, 256)[:, :128],
}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for every product that oneDNN is asked for, on any processor."""
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this PyTorch comes without oneDNN")
    asked: list[int] = []
    real = torch.ops.mkldnn._linear_pointwise

    def count(*arguments: Any) -> Any:
        asked.append(1)
        return real(*arguments)

    monkeypatch.setattr(precision, "_ONEDNN", True)
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", count)
    return asked


@pytest.mark.parametrize("kind", LARGE)
@pytest.mark.parametrize("biased", [True, False])
def test_large_products_are_those_of_pytorch(kind: str, biased: bool, counted: list[int]) -> None:
    torch.manual_seed(0)
    tokens, weight, bias = LARGE[kind](), torch.randn(96, 128), torch.randn(96) if biased else None

    found = linear(tokens, weight, bias)

    assert len(counted) == 1
    expected = functional.linear(
        tokens.double(), weight.double(), None if bias is None else bias.double()
    )
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=1e-4)


def changed(tokens: Tensor, weight: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    return {
        "small": (tokens[:1, :1], weight),
        "half precision": (tokens.bfloat16(), weight.bfloat16()),
        "a gradient is asked of tokens": (tokens.clone().requires_grad_(), weight),
        "a gradient is asked of weights": (tokens, weight.clone().requires_grad_()),
    }


@pytest.mark.parametrize("kind", changed(torch.zeros(1, 1, 1), torch.zeros(1)))
def test_other_products_are_left_to_pytorch(kind: str, counted: list[int]) -> None:
    torch.manual_seed(0)
    tokens, weight = changed(torch.randn(2, 300, 128), torch.randn(96, 128))[kind]

    found = linear(tokens, weight)

    assert not counted
    assert torch.equal(found, functional.linear(tokens, weight))
    assert found.requires_grad == (tokens.requires_grad or weight.requires_grad)


def test_autocast_keeps_its_word(counted: list[int]) -> None:
    tokens, weight = torch.randn(2, 300, 128), torch.randn(96, 128)

    with torch.autocast("cpu", torch.bfloat16):
        found = linear(tokens, weight)

    assert found.dtype == torch.bfloat16
    assert not counted


def test_a_frozen_network_answers_as_before(counted: list[int]) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(128, 256), nn.Dropout(), nn.GELU(), nn.Linear(256, 96))
    tokens = torch.randn(2, 300, 128)
    expected = copy.deepcopy(network).eval()(tokens)

    found = frozen(network, "cpu")(tokens)

    assert len(counted) == 2
    torch.testing.assert_close(found, expected.detach(), rtol=1e-5, atol=1e-4)
    assert not any(weight.requires_grad for weight in network.parameters())
    assert not network.training


def test_frozen_layers_are_copied_and_kept_as_others() -> None:
    network = frozen(nn.Sequential(nn.Linear(4, 2)), "cpu")

    for same in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert type(same[0]) is FrozenLinear
        assert torch.equal(same[0].weight, network[0].weight)


def test_layers_of_other_classes_stay_what_they_are() -> None:
    class Own(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return -super().forward(input)

    network = frozen(nn.Sequential(Own(4, 2)), "cpu")

    assert type(network[0]) is Own
