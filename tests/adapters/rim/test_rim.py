"""RIM as a whole, on the packaged weights: presets, references, what is remembered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ovbench.adapters import rim
from ovbench.adapters.parts.candidates import allowed_labels
from ovbench.adapters.rim import RIM, recogniser, references
from ovbench.adapters.rim.painting import paint, priorities
from ovbench.adapters.rim.settings import PRESETS, RIMSettings
from ovbench.adapters.rim.settled import PREDICTED_IOU
from ovbench.datasets import load_dataset
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import override
from ovbench.harness.contract.stages import measure
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Vocabulary
from ovbench.harness.metrics.scores import confusion, scores
from ovbench.harness.metrics.tally import Tally
from ovbench.harness.registry.methods import load_method
from ovbench.models.sam.model import Sam
from ovbench.models.sam.proposals import ProposalSettings, propose
from ovbench.support import making

FAST = {"pictures": 2, "steps": 2, "subcategories": 2, "points_per_side": 6}
VOCABULARY = Vocabulary.of("circle", "star", "ring", "heart", background=True)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(autouse=True)
def cache(kept: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One cache for the tests of this file: pictures take long."""
    monkeypatch.setenv("OVBENCH_CACHE", str(kept))
    return kept


def build(**values: Any) -> RIM:
    return RIM(override(RIMSettings, {**FAST, **values}), Runtime(checkpoints="toy"))


def prepared(vocabulary: Vocabulary = VOCABULARY, **values: Any) -> RIM:
    method = build(**values)
    method.prepare(vocabulary)
    return method


@pytest.fixture(scope="module")
def scenes() -> list[Image]:
    data = load_dataset("toyworld")
    return [data.load(index).image for index in range(2)]


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_answers(preset: str, scenes: list[Image]) -> None:
    values = {**FAST, **PRESETS[preset]}
    method = prepared(**values)
    images = [scenes[0], np.ascontiguousarray(scenes[1][:50, :70])]
    for image, found in zip(images, method.segment(images), strict=True):
        assert found.shape == image.shape[:2]
        assert found.dtype == np.uint8
        assert found.max() < len(VOCABULARY)


def test_what_the_weights_decide_is_recorded() -> None:
    recorded = load_method("rim", checkpoints="toy").subject
    assert recorded.settings["predicted_iou"] == PREDICTED_IOU["toyworld/sam"]
    assert recorded.settings["reference_side"] == recorded.settings["short_side"] == 96
    roles = [record.role for record in recorded.checkpoints]
    assert {"sam", "dinov2", "stable_diffusion"} == set(roles)
    assert len(set(recorded.checkpoints)) == len(roles)
    given = load_method("rim", checkpoints="toy", settings={"predicted_iou": 0.5}).subject
    assert given.settings["predicted_iou"] == 0.5
    crops = load_method("rim", preset="table2_clip_crops", checkpoints="toy").subject
    assert {record.role for record in crops.checkpoints} == {"sam", "clip"}


@pytest.mark.parametrize(
    "values",
    [
        {"prompt": "a photo"},
        {"pictures": 0},
        {"attention_threshold": 0},
        {"subcategories": -1},
        {"agents": 1},
        {"temperature": 0},
        {"short_side": 0},
        {"matching": "text", "proposals": "none"},
    ],
)
def test_impossible_settings_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="settings: "):
        override(RIMSettings, values)


def test_a_side_that_the_encoder_cannot_take_is_refused() -> None:
    with pytest.raises(UsageError, match="reference_side=50 must be a multiple of 8"):
        build(reference_side=50)


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(making._Maker, "fill", fail)
    monkeypatch.setattr(Sam, "predict", fail)
    monkeypatch.setattr(references, "cluster", fail)


def test_what_was_made_is_recalled(scenes: list[Image], monkeypatch: pytest.MonkeyPatch) -> None:
    with measure("cpu") as first:
        before = prepared()
    assert set(first.stages_s) >= {"pictures", "subcategories"}
    forbid(monkeypatch)
    again = build()
    with measure("cpu") as second:
        again.prepare(VOCABULARY)
    assert second.total_s < 2
    # Other matching and other proposals need nothing new; nor does a part of the vocabulary.
    prepared(agents=3, points_per_side=4, short_side=48)
    for a, b in zip(before.segment(scenes), again.segment(scenes), strict=True):
        np.testing.assert_array_equal(a, b)
    prepared(Vocabulary.of("ring", "circle"))


@pytest.mark.parametrize(
    "values",
    [{"attention_threshold": 0.5}, {"points": 4}, {"layer": -2}, {"reference_side": 48}],
)
def test_what_matters_is_made_again(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared()
    forbid(monkeypatch)
    with pytest.raises(AssertionError, match="made again"):
        prepared(**values)


def test_a_class_is_where_any_of_its_names_is(scenes: list[Image]) -> None:
    apart = prepared(Vocabulary.of("circle", "star", "ring", background=True))
    classes = (ClassQuery("circle", ("ring",)), ClassQuery("star"))
    together = prepared(Vocabulary(classes, Background()))
    for a, b in zip(apart.segment(scenes), together.segment(scenes), strict=True):
        np.testing.assert_array_equal(np.array([0, 1, 2, 1])[a], b)
    assert any(np.isin(a, (1, 3)).any() for a in apart.segment(scenes))


def test_candidates_are_a_smaller_vocabulary(scenes: list[Image]) -> None:
    # The background reference comes from all pictures, so that it is left out here.
    whole = prepared(background="none", holes="region")
    part = prepared(
        Vocabulary.of("star", "heart", background=True), background="none", holes="region"
    )
    told = whole.segment(scenes, [(2, 4)] * 2)
    for a, b in zip(told, part.segment(scenes), strict=True):
        np.testing.assert_array_equal(a, np.array([0, 2, 4])[b])
    assert not np.any(whole.segment(scenes, [()] * 2))


@pytest.mark.parametrize("matching", ["relation", "cosine", "text"])
def test_only_the_background_is_a_candidate(matching: str, scenes: list[Image]) -> None:
    for background in ("class", "candidate", "none"):
        method = prepared(matching=matching, background=background)
        assert not np.any(method.segment(scenes[:1], [()])[0])


def test_one_agent_gives_way_to_cosine(scenes: list[Image]) -> None:
    asked = scenes, [(3,), (4,)]
    ranked = prepared(background="candidate", subcategories=0).segment(*asked)
    cosine = prepared(background="candidate", subcategories=0, matching="cosine").segment(*asked)
    for a, b in zip(ranked, cosine, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.any(ranked)


def test_without_a_background_none_is_a_candidate(scenes: list[Image]) -> None:
    method = prepared(Vocabulary.of("circle", "star", "ring"))
    assert method._recogniser._gallery.labels.tolist() == [0, 1, 2]
    single = prepared(Vocabulary.of("ring"))
    assert not np.any(single.segment(scenes)[0])


def test_the_background_takes_part_as_it_is_told() -> None:
    parts = {
        mode: prepared(background=mode)._recogniser._gallery
        for mode in ("class", "candidate", "none")
    }
    assert [found.labels[0] for found in parts.values()] == [0, 0, 1]
    assert [bool(found.references.agents[0]) for found in parts.values()] == [True, False, True]
    # It is the mean over all pictures' backgrounds.
    rows = [found.background for found in made(prepared(), VOCABULARY)]
    expected = np.concatenate(rows).mean(axis=0)
    np.testing.assert_allclose(parts["class"].references.whole[0].numpy(), expected, rtol=1e-6)


def test_a_background_of_several_references_is_recalled(monkeypatch: pytest.MonkeyPatch) -> None:
    found = prepared(backgrounds=3)._recogniser._gallery
    assert found.labels.tolist() == [0, 0, 0, 1, 2, 3, 4]
    assert found.references.owner.tolist() == [0, 1, 2, 3, 3, 4, 4, 5, 5, 6, 6]
    rows = np.concatenate([each.background for each in made(prepared(), VOCABULARY)])
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    centres = found.references.whole[:3].numpy()
    nearest = ((unit[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    for group, centre in enumerate(centres):
        np.testing.assert_allclose(unit[nearest == group].mean(axis=0), centre, atol=1e-5)
    forbid(monkeypatch)
    again = prepared(backgrounds=3)._recogniser._gallery
    torch.testing.assert_close(again.references.whole, found.references.whole)


def made(method: RIM, vocabulary: Vocabulary) -> list[references.Prototypes]:
    inside = method._recogniser
    names = [query.name for query in vocabulary.classes]
    return inside._maker.make(inside._supports.make(names, FAST["pictures"]))


def test_references_are_means_of_foregrounds_or_of_whole_pictures() -> None:
    method = prepared(pooled="image", subcategories=0)
    prototypes = made(method, VOCABULARY)
    found = method._recogniser._gallery.references
    torch.testing.assert_close(found.parts, found.whole)
    np.testing.assert_allclose(found.whole[2].numpy(), prototypes[1].image.mean(axis=0), rtol=1e-5)
    inner = prepared()._recogniser._gallery.references
    expected = prototypes[1].foreground.mean(axis=0)
    np.testing.assert_allclose(inner.whole[2].numpy(), expected, rtol=1e-5)
    assert inner.owner.tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_proposals_are_kept_and_those_of_sam_asked_directly(
    scenes: list[Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    method = prepared()
    assert method._sam is not None
    settings = method.settings
    expected = []
    for image in scenes:
        found = propose(
            method._sam,
            method._sam.encode(image),
            ProposalSettings(
                points_per_side=settings.points_per_side,
                pred_iou_thresh=settings.predicted_iou,
                stability_score_thresh=settings.stability,
                box_nms_thresh=settings.box_overlap,
            ),
        )
        masks, estimates = found.masks, found.predicted_iou
        allowed = allowed_labels(VOCABULARY, None)
        labels, values = method._recogniser.recognise(image, masks, allowed)
        priority = priorities(settings.overlap, masks, values, estimates)
        expected.append(paint(masks, labels, priority, elsewhere=0, dtype=np.dtype(np.uint8)))
    answers = method.segment(scenes)
    np.testing.assert_array_equal(answers, expected)

    def never(*_: Any) -> None:
        raise AssertionError("SAM was asked again")

    monkeypatch.setattr(Sam, "encode", never)
    np.testing.assert_array_equal(prepared().segment(scenes), answers)


@pytest.mark.parametrize("matching", ["relation", "text"])
def test_without_any_proposal(matching: str, scenes: list[Image]) -> None:
    nothing = {"predicted_iou": 1e9, "matching": matching}
    assert not np.any(prepared(**nothing).segment(scenes)[0])
    whole = prepared(Vocabulary.of("circle", "star", "ring"), **nothing).segment(scenes)[0]
    assert len(np.unique(whole)) == 1


def test_an_empty_mask_of_sam_gives_way_to_the_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    predict = Sam.predict

    def empty(self: Sam, *args: Any, **values: Any) -> Any:
        found = predict(self, *args, **values)
        found.masks[:] = False
        return found

    monkeypatch.setattr(Sam, "predict", empty)
    method = prepared(points=3)
    assert method.notes[0].endswith(
        "SAM's mask was empty in 8 pictures, whose attention map is used"
    )
    monkeypatch.undo()


def test_random_agents_depend_on_seed_and_image_alone(scenes: list[Image]) -> None:
    seed = recogniser._seed
    assert seed(0, scenes[0]) == seed(0, scenes[0].copy())
    assert len({seed(0, scenes[0]), seed(1, scenes[0]), seed(0, scenes[1])}) == 3


def test_threads_and_pixels(scenes: list[Image]) -> None:
    rng = np.random.default_rng(0)
    thread = rng.integers(0, 256, (1, 300, 3), dtype=np.uint8)
    for values in ({}, {"proposals": "none"}, {"matching": "text"}):
        method = prepared(max_long_side=320, **values)
        for image in (thread, np.ascontiguousarray(thread.transpose(1, 0, 2)), thread[:, :1]):
            assert method.segment([image])[0].shape == image.shape[:2]


def test_the_recipe_is_the_papers() -> None:
    recipe = rim.RIM.recipe(RIMSettings(), 3)
    assert recipe.text("traffic light") == "a photo of traffic light"
    assert recipe.rule.peak_normalised
    assert recipe.seed == 3


def miou(**values: Any) -> float:
    data = load_dataset("toyworld")
    method = prepared(
        data.vocabulary,
        **{"pictures": 4, "steps": 12, "solver": "dpm-solver++", "points_per_side": 12, **values},
    )
    samples = [data.load(index) for index in range(20)]
    found = method.segment([sample.image for sample in samples])
    size = len(data.vocabulary)
    counted = [
        confusion(sample.label, answer, size, 255)
        for sample, answer in zip(samples, found, strict=True)
    ]
    return scores(Tally.of(counted, size).areas().total, background=True).miou


@pytest.mark.slow
def test_it_segments_the_rendered_world() -> None:
    whole, foreground = (
        miou(**{**PRESETS[preset], "backgrounds": 8})
        for preset in ("table2_whole_pictures", "table2_foreground")
    )
    assert foreground > 45  # background everywhere is 7.5
    assert foreground > whole + 8
