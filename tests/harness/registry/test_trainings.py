"""What methods were trained with: every checkpoint has a row, and settings choose among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.supervision import LABELS, Supervision, joined
from ovbench.harness.registry.glance import card_of
from ovbench.harness.registry.methods import load_method
from ovbench.harness.registry.names import METHODS
from ovbench.harness.registry.picking import picks_of
from ovbench.harness.registry.trainings import TRAININGS, supervision_of, training_of
from ovbench.harness.results.store import RunStore, identity_digest
from ovbench.harness.run.runner import evaluate
from ovbench.leaderboards.tables.marks import marks
from ovbench.models.weights.catalogue import ENTRIES

BUILTIN = [name for name, entry in METHODS.entries.items() if entry.package == "ovbench"]


@pytest.mark.parametrize("name", BUILTIN)
def test_every_method_says_what_it_was_trained_with(name: str) -> None:
    found = supervision_of(card_of(name))
    assert found is not None
    assert found.unknown == ()


def test_every_checkpoint_has_a_row_and_every_row_a_checkpoint() -> None:
    learned = [f"{entry.role}/{entry.name}" for entry in ENTRIES if entry.role != "tokenizer"]
    rows = {name: training_of(name) for name in learned}
    assert [name for name, row in rows.items() if row is None] == []
    assert [one for one in TRAININGS.values() if one not in rows.values()] == []
    for row in TRAININGS.values():
        assert row.source
        assert {*row.data.values()} <= {*LABELS}


def test_a_user_s_own_weights_are_unknown() -> None:
    assert training_of("dino/somebody/something") is None
    assert training_of("sam3/facebook/other") is None
    assert training_of("clip/ViT-B-16 openai@main") == training_of("clip/ViT-B-16 openai")


def test_settings_choose() -> None:
    card, picks = card_of("maskclip"), picks_of("maskclip")
    named = {"architecture": "ViT-B-16", "pretrained": "laion2b_s34b_b88k"}
    other = supervision_of(card, picks, named)
    assert other == Supervision({"LAION-2B": "captions"})
    untrained = supervision_of(card, picks, {"pretrained": "random"})
    assert untrained == Supervision({})
    assert (untrained.dearest, untrained.words) == ("nothing", "nothing")
    mine = supervision_of(card, picks, {"pretrained": "mine"})
    assert mine == Supervision({}, ("clip/ViT-B-16 mine",))
    assert (mine.dearest, mine.words) == ("unknown", "unknown")


def test_a_card_s_own_word_counts() -> None:
    card = MethodCard(summary="s", kind="mask-supervised", trained={"COCO": "masks"})
    found = supervision_of(card)
    assert found is not None
    assert list(found.seen("cocoobject")) == ["images of COCO, with masks"]
    assert list(found.seen("voc")) == []
    assert found.benchmarks == ["coco20i", "cocoobject", "cocostuff"]
    assert supervision_of(None) is None


def test_of_several_trainings_the_dearest_labels_stay() -> None:
    assert joined([{"COCO": "masks"}, {"COCO": "images", "SBU": "captions"}]) == {
        "COCO": "masks",
        "SBU": "captions",
    }


def test_a_run_records_it_and_stays_the_run_it_was(memory_dataset: Any, tmp_path: Path) -> None:
    method = load_method("constant", device="cpu")
    result = evaluate(method, memory_dataset(count=1), output=tmp_path / "run")
    assert result is not None
    assert result["trained"] == {"data": {}, "unknown": []}
    identity = RunStore(tmp_path / "run").identity()
    assert identity is not None
    told = {**identity, "trained": {"data": {"PASCAL VOC": "masks"}, "unknown": []}}
    untold = {name: value for name, value in identity.items() if name != "trained"}
    assert identity_digest(told) == identity_digest(untold) == identity_digest(identity)
    seen = {**result, "trained": told["trained"], "run": {**result["run"], "dataset": "voc"}}
    assert "seen in training: images of PASCAL VOC, with masks" in marks(seen)
    toy = load_method("maskclip", checkpoints="toy", device="cpu")
    assert toy.subject.trained is None
