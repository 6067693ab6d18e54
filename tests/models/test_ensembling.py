"""What is kept of embedded queries: the same numbers to the last bit, and never others' ones."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from watchers import Watcher

from ovbench.models import ensembling
from ovbench.models.ensembling import TextTower, ensembled

NAMES = ["cat", "dog", "sky", "ring", "star", "disc"]
TEMPLATES = ["a {}", "the {}."]


class Network(nn.Module):
    """Sums the vectors of letters, and norms them."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.letters = nn.Embedding(128, 8, _weight=torch.randn(128, 8, generator=generator))
        self.norm = nn.LayerNorm(8)
        self.visual = nn.Linear(2, 2)
        self.register_buffer("shift", torch.zeros(8), persistent=False)
        self.requires_grad_(False)

    def forward(self, tokens: Tensor) -> Tensor:
        joint: Tensor = self.norm(self.letters(tokens).sum(dim=1)) + self.shift
        return joint


class Tower:
    """Counts the texts that it embeds."""

    def __init__(self, seed: int = 0) -> None:
        self.network, self.moved, self.texts = Network(seed), 0, 0
        self.before: Callable[[], None] = lambda: None

    def tokens(self, texts: Sequence[str]) -> tuple[Tensor]:
        return (torch.tensor([[(ord(c) + self.moved) % 128 for c in f"{t:20}"] for t in texts]),)

    def embed(self, tokens: Tensor) -> Tensor:
        self.before()
        self.texts += len(tokens)
        embedded: Tensor = self.network(tokens)
        return embedded

    def of(
        self, queries: Sequence[str] = NAMES, templates: Sequence[str] = TEMPLATES,
        unit: bool = True,
    ) -> Tensor:  # fmt: skip
        tower = TextTower(self.tokens, self.embed, self.network, without=("visual",))
        return ensembled(tower, queries, templates, unit=unit)


@pytest.fixture(autouse=True)
def two_queries_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ensembling, "TEXT_BATCH", 4)


def files_of(cache: Path) -> list[Path]:
    return sorted((cache / "texts").glob("*.npz"))


def test_what_is_kept_is_what_was_computed() -> None:
    made, other = Tower(), Tower()
    found = made.of()
    assert torch.equal(other.of(), found)
    assert (made.texts, other.texts) == (12, 0)
    prompts = [[t.format(n) for t in TEMPLATES] for n in NAMES]
    joint = torch.stack([made.network(*made.tokens(texts)) for texts in prompts])
    unit = nn.functional.normalize(joint, dim=-1).mean(dim=1)
    torch.testing.assert_close(found, nn.functional.normalize(unit, dim=-1))


@given(st.lists(st.lists(st.sampled_from(NAMES), min_size=1, max_size=7), max_size=3),
       st.lists(st.sampled_from(NAMES), min_size=1, max_size=7))  # fmt: skip
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_was_kept_before_the_answer_is_the_same(
    tmp_path_factory: pytest.TempPathFactory, before: list[list[str]], asked: list[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OVBENCH_CACHE", str(tmp_path_factory.mktemp("cold")))
        cold = Tower().of(asked)
        patch.setenv("OVBENCH_CACHE", str(tmp_path_factory.mktemp("warm")))
        for queries in before:
            Tower().of(queries)
        assert torch.equal(Tower().of(asked), cold)
        assert torch.equal(Tower().of(asked), cold)


def _weight(tower: Tower) -> None:
    tower.network.letters.weight[5, 5] += 1e-6


def _buffer(tower: Tower) -> None:
    tower.network.shift[0] = 1


def _option(tower: Tower) -> None:
    tower.network.norm.eps = 1e-3


def _layer(tower: Tower) -> None:
    tower.network.norm = nn.Identity()


def _tokenizer(tower: Tower) -> None:
    tower.moved = 1


@pytest.mark.parametrize("change", [_weight, _buffer, _option, _layer, _tokenizer])
def test_nothing_is_handed_out_that_another_network_computed(
    change: Callable[[Tower], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tower = Tower()
    tower.of()
    change(tower)
    found = tower.of()
    assert tower.texts == 24
    monkeypatch.setenv("OVBENCH_CACHE", str(tmp_path / "other"))
    assert torch.equal(found, tower.of())


@pytest.mark.parametrize(
    "asked",
    [{"templates": ["a {}", "the {}"]}, {"templates": TEMPLATES[::-1]}, {"unit": False},
     {"queries": ["cats", *NAMES[1:]]}],
)  # fmt: skip
def test_nor_of_other_questions(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Tower().of()
    tower = Tower()
    found = tower.of(**asked)
    assert tower.texts >= 4
    monkeypatch.setenv("OVBENCH_CACHE", str(tmp_path / "other"))
    assert torch.equal(found, tower.of(**asked))


def test_what_texts_do_not_pass_counts_for_nothing() -> None:
    Tower().of()
    tower = Tower()
    tower.network.visual.weight.add_(1)
    tower.of()
    assert tower.texts == 0


def test_other_random_weights_have_other_embeddings() -> None:
    assert not torch.equal(Tower(0).of(), Tower(1).of())


def test_a_killed_one_goes_on_where_it_was(watcher: Watcher) -> None:
    def killed() -> None:
        if tower.texts == 8:
            raise KeyboardInterrupt

    whole, tower = Tower(), Tower()
    tower.before = killed
    with pytest.raises(KeyboardInterrupt):
        tower.of()
    found = whole.of()
    assert (whole.texts, tower.texts) == (4, 8)
    assert [(w.title, w.total, w.done) for w in watcher.works] == [
        ("texts embedded", 12, 8), ("texts embedded", 4, 4),
    ]  # fmt: skip
    assert torch.equal(whole.of(), found)
    assert len(watcher.works) == 2


def test_a_damaged_piece_is_made_again_and_nothing_else(cache: Path) -> None:
    found = Tower().of()
    one, other, third = files_of(cache)
    content = bytearray(one.read_bytes())
    content[content.index(b"NUMPY") + 130] ^= 1
    one.write_bytes(content)
    tower = Tower()
    assert torch.equal(tower.of(), found)
    assert tower.texts == 4
    other.write_bytes(third.read_bytes())  # whole, but not what its name says
    assert torch.equal(tower.of(), found)
    assert tower.texts == 8


def test_of_two_processes_one_embeds() -> None:
    begun, go = threading.Event(), threading.Event()

    def waits() -> None:
        begun.set()
        assert go.wait(30)

    towers, found = (Tower(), Tower()), {}
    towers[0].before = waits
    threads = [
        threading.Thread(target=lambda i=i: found.update({i: towers[i].of()})) for i in range(2)
    ]
    threads[0].start()
    assert begun.wait(30)
    threads[1].start()
    go.set()
    for thread in threads:
        thread.join(30)
    assert torch.equal(found[0], found[1])
    assert [tower.texts for tower in towers] == [12, 0]
