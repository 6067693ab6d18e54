"""SAM 3 and ActiveSAM as methods: labels, pruning, background, names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tiny_sam3
import torch
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from torch.nn import functional

from ovbench.adapters.prompted import sam3 as adapter
from ovbench.adapters.prompted.activesam import ActiveSAM, ActiveSAMSettings
from ovbench.adapters.prompted.fusion import Ranking
from ovbench.adapters.prompted.sam3 import Sam3Method, Sam3Settings
from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Vocabulary
from ovbench.harness.registry.methods import load_method
from ovbench.harness.run.conformance import conformance_checks
from ovbench.models.prompted.names import spoken

SOME = Vocabulary(
    (ClassQuery("cat"), ClassQuery("dog", ("puppy",)), ClassQuery("road")), Background()
)
IMAGE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
LOW = {"confidence": 0.1}


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "load_sam3", lambda name, runtime: tiny_sam3.sam3(runtime))


def plain_scores(method: Sam3Method, vocabulary: Vocabulary) -> torch.Tensor:
    """The rule written out at full size, query by query; ``(labels, H, W)``."""
    settings, model = method.settings, method._model
    picture = model.see(method._input(IMAGE, model.side))
    total = torch.zeros(len(vocabulary.names), *IMAGE.shape[:2])
    for query, label in enumerate(vocabulary.query_labels):
        found = model.find(picture, method._prompts[torch.tensor([query])])
        logits = torch.cat([found.masks[0], found.semantic])[None]
        *masks, whole = functional.interpolate(logits, IMAGE.shape[:2], mode="bilinear")[
            0
        ].sigmoid()
        presence = found.presence[0].sigmoid()
        score = whole if settings.semantic else torch.zeros_like(whole)
        for mask, sure in zip(masks, found.scores[0].sigmoid() * presence, strict=True):
            if settings.instances and sure > settings.confidence:
                score = torch.maximum(score, mask * sure)
        score = score * presence if settings.presence_gate else score
        total[label] = torch.maximum(total[label], score)
    return total


@pytest.mark.parametrize(
    "settings",
    [
        LOW,
        {"confidence": 0.99},
        {**LOW, "prompts_at_a_time": 1},
        {**LOW, "semantic": False, "background_below": 0.2},
        {"instances": False, "presence_gate": False, "background_below": 0.45},
    ],
)
def test_labels_are_those_of_the_rule_written_out(settings: dict[str, Any]) -> None:
    method = Sam3Method(Sam3Settings(**settings), Runtime())
    method.prepare(SOME)
    scores = plain_scores(method, SOME)
    best, expected = scores.max(dim=0)
    below = method.settings.background_below
    expected[best < below] = 0
    (labels,) = method.segment([IMAGE])
    close = scores.topk(2, dim=0).values
    unsure = ((close[0] - close[1]).abs() < 1e-5) | ((best - below).abs() < 1e-5)
    assert (torch.from_numpy(labels.astype(int)) == expected)[~unsure].all()
    assert (~unsure).float().mean() > 0.9


def test_the_picture_is_seen_once_however_many_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method = Sam3Method(Sam3Settings(prompts_at_a_time=2, most_active=0), Runtime())
    method.prepare(SOME)
    seen, see = [], method._model.see
    monkeypatch.setattr(
        method._model, "see", lambda pixels: seen.append(pixels.shape) or see(pixels)
    )
    monkeypatch.setattr(method._model, "read", None)  # words were read before
    method.segment([IMAGE, IMAGE])
    assert seen == [(1, 3, 112, 112)] * 2


def test_a_preview_keeps_what_is_most_present(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"thing {i}" for i in range(9)]
    vocabulary = Vocabulary.of(*names)
    settings = ActiveSAMSettings(most_active=4, active_share=0.5, preview_side=56)
    method = ActiveSAM(settings, Runtime())
    method.prepare(vocabulary)
    presence = method._model.presence(
        method._model.see(method._input(IMAGE, 56)), method._short
    ).sigmoid()
    monkeypatch.setattr(method._model, "see", lambda pixels: pixels.shape[-1])

    def of_some(side: int, some: Any) -> torch.Tensor:
        assert side == 56
        rows = [int((method._short.tokens == one).all(-1).all(-1).nonzero()) for one in some.tokens]
        return presence[rows].logit()

    monkeypatch.setattr(method._model, "presence", of_some)
    kept = method._active(IMAGE, torch.arange(9))
    assert kept.tolist() == sorted(presence.topk(4).indices.tolist())
    method.settings = replace(settings, active_share=0.2)
    least = presence.quantile(0.8)
    assert method._active(IMAGE, torch.arange(9)).tolist() == (
        torch.nonzero(presence >= least)[:, 0].tolist()
    )


def test_what_is_pruned_is_no_label_and_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    method = ActiveSAM(ActiveSAMSettings(most_active=2, preview_side=56), Runtime())
    method.prepare(Vocabulary.of("a", "b", "c", "d"))
    kept = torch.tensor([1, 3])
    monkeypatch.setattr(method, "_active", lambda image, queries: kept)
    (labels,) = method.segment([IMAGE])
    assert {*np.unique(labels)} <= {0, 1, 3}
    assert {*np.unique(labels)} & {1, 3}
    unpruned = ActiveSAM(ActiveSAMSettings(most_active=9, preview_side=56), Runtime())
    unpruned.prepare(Vocabulary.of("a", "b", "c", "d"))
    monkeypatch.setattr(unpruned, "_active", None)  # a vocabulary that is small asks for all
    unpruned.segment([IMAGE])


ROWS = st.lists(st.floats(0, 1, width=32), min_size=6, max_size=6)


@settings_of_hypothesis(max_examples=30, deadline=None)
@given(st.lists(ROWS, min_size=2, max_size=5), st.floats(0, 0.9), st.sampled_from([None, 1.25]))
def test_labels_one_after_another_are_those_of_all_at_once(
    rows: list[list[float]], below: float, exponent: float | None
) -> None:
    scores = torch.tensor(rows).reshape(len(rows), 2, 3)
    ranking = Ranking((2, 3), 0, scores.device)
    for label, one in enumerate(scores):
        ranking.add(label, one)
    best, expected = scores.max(dim=0)
    second = scores.sort(dim=0, descending=True).values[1]
    assert torch.equal(ranking.best, best)
    assert torch.equal(ranking.second, second)
    sure, least = best, below
    if exponent is not None:
        sure, least = best * (best - second).sqrt(), below**exponent
    if below > 0:
        expected[sure < least] = 0
    first = torch.stack([(one == best) for one in scores]).int().argmax(dim=0)
    assert torch.equal(ranking.labels(below, exponent), torch.where(expected > 0, first, 0).int())


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ("tvmonitor", "tv monitor"), ("Traffic-Light", "traffic light"), ("cat", "cat"),
        ("wall-brick", "brick wall"), ("tie", "necktie"), ("aeroplane", "airplane"),
    ],
)  # fmt: skip
def test_names_as_one_would_say_them(given_: str, said: str) -> None:
    assert spoken(given_) == said


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"instances": False, "semantic": False}, "cannot both be false"),
        ({"active_share": 0.0}, "active_share must be above 0"),
        ({"neighbours": -1}, "neighbours must not be negative"),
        ({"prompts_at_a_time": 0}, "prompts_at_a_time must be positive"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Sam3Settings(**settings)
    with pytest.raises(UsageError, match="preview_side=57 must be a multiple of 14"):
        ActiveSAM(ActiveSAMSettings(preview_side=57), Runtime())


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        pytest.param("sam3", {"background_below": 0.3}, marks=pytest.mark.slow),
        ("activesam", {"background_below": 0.1, "most_active": 2, "preview_side": 56}),
    ],
)
def test_the_contract_is_kept(name: str, settings: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(3)]
    vocabularies = (
        Vocabulary.of("cat", "dog", "bird", "sheep", background=True),
        Vocabulary.of("sea", "sky"),
    )
    outcomes = conformance_checks(
        lambda: load_method(name, settings=settings, device="cpu", checkpoints="real"),
        vocabularies,
        images,
    )
    assert [(o.name, o.finding) for o in outcomes if not o.passed] == []


def test_results_say_that_masks_were_seen() -> None:
    trained = load_method("sam3", device="cpu").subject.trained
    assert trained is not None
    assert (trained.dearest, trained.unknown) == ("masks", ())
