"""PnP-OVSS as a whole, on tiny models with random weights and on the packaged ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matchers import SIZE, wrap

from ovbench.adapters.pnp_ovss import PnPOVSS
from ovbench.adapters.pnp_ovss.pixels import squared
from ovbench.adapters.pnp_ovss.prompting import Asker, first_spelt
from ovbench.adapters.pnp_ovss.salience import class_maps
from ovbench.adapters.pnp_ovss.settings import PLACES, PRESETS, PnPOVSSSettings, Settled
from ovbench.datasets import load_dataset
from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import override
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Vocabulary
from ovbench.harness.metrics.scores import confusion, scores
from ovbench.harness.metrics.tally import Tally
from ovbench.harness.registry.methods import load_method
from ovbench.models.weights.catalogue import ENTRIES

KNOWN = {"resolution": SIZE, "layer": 2, "head": 1, "threshold": 0.15}
VOCABULARY = Vocabulary.of("cat", "traffic light", "sofa", "dog", background=True)


@pytest.fixture(params=["blip", "bridgetower"])
def role(request: pytest.FixtureRequest) -> str:
    return request.param


def method(folder: Path, role: str = "blip", **values: Any) -> PnPOVSS:
    settings = PnPOVSSSettings(**{**KNOWN, **values})
    return PnPOVSS(settings, Runtime(), wrap(role, folder))


def noise(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(count)
    return [rng.integers(0, 256, (20 + 9 * i, 40, 3), dtype=np.uint8) for i in range(count)]


def test_every_preset_runs_and_labels_every_pixel(tmp_path: Path, role: str) -> None:
    model = wrap(role, tmp_path)
    for preset, values in PRESETS.items():
        settings = override(PnPOVSSSettings, {**KNOWN, **values, "resolution": SIZE})
        segmenter = PnPOVSS(settings, Runtime(), model)
        segmenter.prepare(VOCABULARY)
        for image, found in zip(noise(2), segmenter.segment(noise(2)), strict=True):
            assert found.shape == image.shape[:2], preset
            assert found.max() < len(VOCABULARY)


def test_the_order_of_classes_is_the_vocabularys(tmp_path: Path) -> None:
    # Removing the background only moves the labels.
    with_background = method(tmp_path, threshold_of="patch", background="empty", crf_iterations=0)
    without = method(tmp_path, threshold_of="patch", crf_iterations=0)
    with_background.prepare(VOCABULARY)
    without.prepare(Vocabulary(VOCABULARY.classes))
    a, b = with_background.segment(noise(1))[0], without.segment(noise(1))[0]
    assert (a[a > 0] - 1 == b[a > 0]).all()
    assert len(np.unique(b)) > 1


def test_candidates_restrict_the_answer_or_the_prompt(tmp_path: Path) -> None:
    images = noise(2)
    for asked in ("vocabulary", "candidates"):
        segmenter = method(tmp_path, prompt_classes=asked)
        segmenter.prepare(VOCABULARY)
        first, second = segmenter.segment(images, [(1, 3), (2,)])
        assert set(np.unique(first)) <= {0, 1, 3}
        assert set(np.unique(second)) <= {0, 2}
        assert not segmenter.segment(images[:1], [()])[0].any()


def test_prompting_candidates_is_asking_for_a_smaller_vocabulary(tmp_path: Path) -> None:
    segmenter = method(tmp_path, prompt_classes="candidates")
    segmenter.prepare(VOCABULARY)
    told = segmenter.segment(noise(1), [(2, 4)])[0]
    segmenter.prepare(Vocabulary.of("traffic light", "dog", background=True))
    alone = segmenter.segment(noise(1))[0]
    assert (np.array([0, 2, 4])[alone] == told).all()
    assert told.any()


def test_classes_that_do_not_fit_are_asked_for_in_further_prompts(tmp_path: Path) -> None:
    segmenter = method(tmp_path, max_tokens=8, drop_by="tokens_and_end")
    segmenter.prepare(VOCABULARY)
    assert segmenter.notes == ("4 classes in 2 prompts of 8 and 7 tokens",)
    together = segmenter.segment(noise(2))
    alone = [segmenter.segment([image])[0] for image in noise(2)]
    assert all((a == b).mean() > 0.999 for a, b in zip(together, alone, strict=True))
    asker = Asker(wrap("blip", tmp_path), VOCABULARY, settled(max_tokens=8))
    first, second = asker.everything().listings
    assert first.prompt.positions == ((4,), (5, 6))
    assert second.prompt.positions == ((4,), (5,))


def settled(**values: Any) -> Settled:
    return Settled(**{**KNOWN, **values})


def test_names_of_several_tokens_are_averaged_and_synonyms_compete(tmp_path: Path) -> None:
    classes = (ClassQuery("traffic light", ("red sofa",)), ClassQuery("dog"))
    vocabulary = Vocabulary(classes, Background())
    question = Asker(wrap("blip", tmp_path), vocabulary, settled()).everything()
    (listing,) = question.listings
    assert question.labels.tolist() == [1, 2]
    assert question.rows.tolist() == [0, 0, 1]
    assert listing.names[0, 4:9].tolist() == [0.5, 0.5, 0, 0, 0]
    assert listing.total[4:].tolist() == [0.5, 0.5, 0.5, 0.5, 1, 0]
    maps = torch.tensor([[1.0, 0], [0, 2], [3, 0]])[:, None]
    assert question.classes(maps)[:, 0].tolist() == [[1, 2], [3, 0]]
    by_tokens = Asker(wrap("blip", tmp_path), vocabulary, settled(drop_by="tokens_and_end"))
    assert by_tokens.everything().listings[0].total.tolist() == [0.0] * 4 + [1.0] * 6


def test_a_name_may_read_the_first_tokens_that_spell_it(tmp_path: Path) -> None:
    vocabulary = Vocabulary.of("traffic light", "light", "sofa")
    rows = {}
    for choice in ("own", "first"):
        asker = Asker(wrap("blip", tmp_path), vocabulary, settled(name_tokens=choice))
        (listing,) = asker.everything().listings
        rows[choice] = [row.nonzero().flatten().tolist() for row in listing.names]
    assert rows == {"own": [[4, 5], [6], [7]], "first": [[4, 5], [5], [7]]}
    # Every token still counts for what is dropped.
    chosen = settled(name_tokens="first", drop_by="tokens_and_end")
    (listing,) = Asker(wrap("blip", tmp_path), vocabulary, chosen).everything().listings
    assert listing.total.tolist() == [0.0] * 4 + [1.0] * 5


def test_pieces_spell_a_name_whether_they_begin_a_word_or_not() -> None:
    pieces = ["a", "picture", "of", "bed", "cloth", "es", "cloth"]  # ##cloth, ##es, cloth
    assert first_spelt(pieces, [(3, 4, 5), (6,)]) == [(3, 4, 5), (4,)]
    # Pieces that begin together and go on differently are none of a name's.
    assert first_spelt(["snow", "board", "snow", "man"], [(0, 1), (2, 3)]) == [(0, 1), (2, 3)]


@pytest.mark.parametrize("changes", [{"pixels": "pil"}, {"vision_eps": 0.1}, {"normalised": False}])
def test_what_the_image_tower_is_given_is_as_set(tmp_path: Path, changes: dict[str, Any]) -> None:
    model = wrap("blip", tmp_path)

    def maps(**values: Any) -> torch.Tensor:
        chosen = settled(drops=0, **values)
        question = Asker(model, VOCABULARY, chosen).everything()
        return class_maps(model, squared(model, noise(1), chosen), [question], chosen)[0]

    before = maps()
    assert not torch.equal(maps(**changes), before)
    assert torch.equal(maps(), before)  # the model itself is as it was


def test_words_are_joined_on_demand(tmp_path: Path) -> None:
    asker = Asker(wrap("blip", tmp_path), Vocabulary.of("red sofa-bed"), settled(join_words=True))
    assert asker._written("red sofa-bed") == "redsofabed"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layer": 9}, "layer=9 head=1: tiny blip has 3 layers of 4 heads"),
        ({"head": 5}, "layer=2 head=5: tiny blip has 3 layers of 4 heads"),
        ({"resolution": 30}, "resolution=30 must be a multiple of 8"),
        ({"layer": None}, "tiny blip: no layer is known for these weights"),
    ],
)
def test_what_the_weights_do_not_have_is_refused(
    tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        method(tmp_path, **values)


@pytest.mark.parametrize(
    "values",
    [
        {"drops": -1},
        {"blur": 1.5},
        {"crf_colour_std": 0},
        {"layer": 0},
        {"head": -1},
        {"vision_eps": 0.0},
        {"background_below": 0},
    ],
)
def test_impossible_settings_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="settings: "):
        override(PnPOVSSSettings, values)


def test_settings_that_the_weights_decide_are_recorded() -> None:
    loaded = load_method("pnp_ovss", checkpoints="toy", settings={"head": 0})
    place = PLACES["toyworld/blip"]
    recorded = loaded.subject.settings
    assert (recorded["layer"], recorded["head"]) == (place.layer, 0)
    assert (recorded["resolution"], recorded["threshold"]) == (place.resolution, place.threshold)
    assert loaded.subject.changes == {"head": 0}


def test_places_are_known_for_every_model_of_the_catalogue() -> None:
    matchers = [entry for entry in ENTRIES if entry.role in ("blip", "bridgetower")]
    assert {entry.source.id for entry in matchers} <= set(PLACES)


@pytest.mark.parametrize("vlm", ["blip_flickr", "bridgetower"])
def test_batches_answer_as_single_images(vlm: str) -> None:
    data = load_dataset("toyworld")
    segmenter = load_method("pnp_ovss", checkpoints="toy", settings={"vlm": vlm}).segmenter
    segmenter.prepare(data.vocabulary)
    images = [data.load(index).image for index in range(6)]
    together = segmenter.segment(images)
    alone = [segmenter.segment([image])[0] for image in images]
    same = np.mean([(a == b).mean() for a, b in zip(together, alone, strict=True)])
    assert same >= 0.999


def miou(preset: str, dataset: str, oracle: bool = False) -> float:
    data = load_dataset(dataset)
    segmenter = load_method("pnp_ovss", preset=preset, checkpoints="toy").segmenter
    segmenter.prepare(data.vocabulary)
    samples = [data.load(index) for index in range(40)]
    first = data.vocabulary.offset
    present = [tuple(v for v in np.unique(s.label) if first <= v < 255) for s in samples]
    found = segmenter.segment([s.image for s in samples], present if oracle else None)
    counted = [
        confusion(s.label, m, len(data.vocabulary), 255)
        for s, m in zip(samples, found, strict=True)
    ]
    total = Tally.of(counted, len(data.vocabulary)).areas().total
    return scores(total, background=first == 1).miou


def test_it_segments_the_rendered_world() -> None:
    full = miou("paper", "toyworld")
    assert full > 45  # background everywhere is 7.5, random labels 2.2
    assert full > miou("table5_gradcam", "toyworld") + 5
    # The released code answers among the true classes; told them, it does well, else not.
    assert miou("cvpr_code_voc", "toyworld", oracle=True) > miou("cvpr_code_voc", "toyworld") + 30
