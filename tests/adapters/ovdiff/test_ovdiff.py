"""OVDiff as a whole, on the packaged models and a few quickly made pictures."""

from __future__ import annotations

from functools import cache as cache_of
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ovbench.adapters.ovdiff import OVDiff
from ovbench.adapters.ovdiff.matching import PrototypeSet
from ovbench.adapters.ovdiff.prototypes import KINDS
from ovbench.adapters.ovdiff.settings import PRESETS, OVDiffSettings
from ovbench.adapters.ovdiff.windows import resized, windows_of
from ovbench.datasets import load_dataset
from ovbench.errors import UsageError
from ovbench.harness.contract.explaining import Explaining
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import override
from ovbench.harness.contract.stages import measure
from ovbench.harness.contract.vocabulary import ClassQuery, Vocabulary
from ovbench.harness.registry.methods import load_method
from ovbench.models.clip.model import load_clip
from ovbench.models.diffusion import model as diffusion
from ovbench.models.diffusion.model import load_diffusion
from ovbench.models.patches.encoder import load_patch_encoder

# Few and rough pictures: what is tested here is what is made of them.
QUICK: dict[str, Any] = {"pictures": 2, "steps": 2, "guidance": 1.0, "parts": 2, "sam_points": 3}
VOCABULARY = Vocabulary(
    (
        ClassQuery("circle", kind="thing"),
        ClassQuery("star", kind="thing"),
        ClassQuery("water", kind="stuff"),
    ),
    load_dataset("toyworld").vocabulary.background,
)
IMAGES = [load_dataset("toyworld").load(index).image for index in range(2)]


MODELS = {
    "load_clip": cache_of(load_clip),
    "extractors.load_diffusion": cache_of(load_diffusion),
    "extractors.load_patch_encoder": cache_of(load_patch_encoder),
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(autouse=True)
def one_cache(shared: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests of this file share their pictures, and the models that they load."""
    monkeypatch.setenv("OVBENCH_CACHE", str(shared))
    for place, load in MODELS.items():
        monkeypatch.setattr(f"ovbench.adapters.ovdiff.{place}", load)


def method(vocabulary: Vocabulary = VOCABULARY, **values: Any) -> OVDiff:
    settings = override(OVDiffSettings, {**QUICK, "proposals": "none", **values})
    made = OVDiff(settings, Runtime(checkpoints="toy"))
    made.prepare(vocabulary)
    return made


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_answers(preset: str) -> None:
    values = {**PRESETS[preset], **QUICK}
    segmenter = OVDiff(override(OVDiffSettings, values), Runtime(checkpoints="toy"))
    segmenter.prepare(VOCABULARY)
    image = IMAGES[0][:70]
    (answer,) = segmenter.segment([image])
    assert answer.shape == image.shape[:2]
    assert answer.max() < len(VOCABULARY)


def by_definition(segmenter: OVDiff, image: np.ndarray) -> np.ndarray:
    """Equation 4 with windows, written out; every class takes part."""
    settings = segmenter.settings
    working = resized(image, settings.short_side, settings.max_long_side)
    height, width = working.shape[:2]
    total = torch.zeros(len(VOCABULARY), height, width)
    seen = torch.zeros(height, width)
    for window in windows_of((height, width), settings.windows, settings.stride, whole=False):
        for name, extractor in segmenter._extractors.items():
            (features,) = extractor.features([window.cut(working)], settings.short_side)
            bank = segmenter._banks[name].sets
            rows = [torch.cat([bank["background"].rows(i) for i in range(3)])]
            rows += [bank["foreground"].rows(i) for i in range(3)]
            scores = torch.stack(
                [
                    torch.nn.functional.cosine_similarity(
                        vectors[:, :, None, None], features[None], dim=1
                    ).amax(dim=0)
                    for vectors in rows
                ]
            )
            place = slice(window.top, window.bottom), slice(window.left, window.right)
            size = window.bottom - window.top, window.right - window.left
            total[:, *place] += torch.nn.functional.interpolate(
                scores[None], size, mode="bilinear"
            )[0]
            seen[place] += 1
    full = torch.nn.functional.interpolate((total / seen)[None], image.shape[:2], mode="bilinear")
    return full[0].argmax(dim=0).numpy()


def test_the_answer_is_that_of_equation_4(monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = method(category_filter=False, extractors=("dino", "clip"))
    expected = [by_definition(segmenter, image) for image in IMAGES]
    assert len(np.unique(expected)) > 1
    found = segmenter.segment(IMAGES)
    monkeypatch.setattr("ovbench.adapters.ovdiff._PLANE_BYTES", 1)  # one class at a time
    in_pieces = segmenter.segment(IMAGES)
    for one, piece, wanted in zip(found, in_pieces, expected, strict=True):
        assert (one == piece).all()
        assert (one == wanted).mean() > 0.999


def test_candidates_and_the_filter_bound_the_answer() -> None:
    segmenter = method(extractors=("clip",))
    for image, answer in zip(IMAGES, segmenter.segment(IMAGES, [(1, 3), ()]), strict=True):
        classes = segmenter._filtered(image, range(3))
        assert 2 in classes  # stuff is not asked for
        assert answer.shape == image.shape[:2]
    first, second = segmenter.segment(IMAGES, [(1, 3), ()])
    assert set(np.unique(first)) <= {0, 1, 3}
    assert not second.any()


def test_without_a_background_there_are_no_background_prototypes() -> None:
    segmenter = method(Vocabulary(VOCABULARY.classes), extractors=("clip",))
    assert list(segmenter._banks["clip"].sets) == ["foreground"]
    assert max(answer.max() for answer in segmenter.segment(IMAGES)) < 3


def test_stuff_has_no_background_and_takes_things_away() -> None:
    whole = method(extractors=("clip",), stuff_filter=False)._banks["clip"].sets["background"]
    strict = method(extractors=("clip",), stuff_similarity=0.0)._banks["clip"]
    sizes = [b - a for a, b in zip(whole.bounds, whole.bounds[1:], strict=False)]
    assert min(sizes) > 0
    stuff = strict.sets["foreground"].rows(2)
    for index, size in enumerate(sizes[:2]):
        alike = (whole.rows(index) @ stuff.mT).amax(dim=1) > 0
        kept = strict.sets["background"].rows(index)
        assert torch.equal(kept, whole.rows(index)[~alike])
        assert len(kept) <= size
    assert not len(strict.sets["background"].rows(2))
    assert strict.dropped == sum(sizes[:2]) - len(strict.sets["background"].vectors)
    assert len(strict.origins["background"]) == len(strict.sets["background"].vectors)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_prototype_can_be_alone(kind: str) -> None:
    everything = method(extractors=("clip",))._banks["clip"]
    alone = method(extractors=("clip",), kinds=(kind,))
    bank = alone._banks["clip"]
    for region in ("foreground", "background"):
        kinds = [
            alone._representer.prototypes(alone._sets[o.query], "clip")[region].kind[o.row]
            for o in bank.origins[region]
        ]
        assert set(kinds) <= {KINDS.index(kind)}
        known: PrototypeSet = everything.sets[region]
        cosines = bank.sets[region].vectors @ known.vectors.mT
        assert (cosines.amax(dim=1) > 0.9999).all()


def test_a_threshold_can_stand_for_background_prototypes() -> None:
    low = method(extractors=("clip",), background="threshold", background_threshold=-1.0)
    high = method(extractors=("clip",), background="threshold", background_threshold=1.1)
    assert min(answer.min() for answer in low.segment(IMAGES)) > 0
    assert not any(answer.any() for answer in high.segment(IMAGES))


def test_the_second_time_nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    values: dict[str, Any] = {"extractors": ("dino", "clip"), "proposals": "sam"}
    first = method(**values).segment(IMAGES)

    def never(*_: Any) -> Any:
        raise AssertionError("loaded")

    monkeypatch.setattr(diffusion, "load_diffusion", never)
    monkeypatch.setattr("ovbench.adapters.ovdiff.extractors.load_diffusion", never)
    monkeypatch.setattr("ovbench.adapters.ovdiff.proposals.load_promptable", never)
    settings = override(OVDiffSettings, {**QUICK, **values})
    again = OVDiff(settings, Runtime(checkpoints="toy"))
    with measure("cpu") as spent:
        again.prepare(VOCABULARY)
    assert spent.total_s < 2
    assert all((a == b).all() for a, b in zip(first, again.segment(IMAGES), strict=True))


def test_another_seed_means_other_pictures_and_every_synonym_has_its_own() -> None:
    settings = override(OVDiffSettings, {**QUICK, "proposals": "none", "extractors": ("clip",)})
    other = OVDiff(settings, Runtime(checkpoints="toy", seed=1))
    other.prepare(Vocabulary((ClassQuery("circle", ("star",)), ClassQuery("water"))))
    assert [one.name for one in other._sets] == ["circle", "star", "water"]
    assert other._sets[0].digest != method()._sets[0].digest
    sizes = np.diff(other._banks["clip"].sets["foreground"].bounds)
    assert sizes.tolist() == [10, 5]  # of each query: class, 2 instances, 2 parts


def test_blanks_are_filled_in_by_what_the_models_were_trained_on() -> None:
    loaded = load_method("ovdiff", checkpoints="toy")
    recorded = loaded.subject.settings
    assert (recorded["short_side"], recorded["max_long_side"]) == (192, 878)
    assert (recorded["windows"], recorded["stride"]) == ([192, 144], 96)
    assert loaded.subject.changes == {}
    roles = {record.role for record in loaded.subject.checkpoints}
    assert roles >= {"stable_diffusion", "dino", "clip"}
    alone = load_method("ovdiff", preset="table3_full", checkpoints="toy").subject.settings
    assert (alone["short_side"], alone["windows"]) == (84, [84, 63])
    given = {"short_side": "100", "windows": "", "stride": "7"}
    chosen = load_method("ovdiff", settings=given, checkpoints="toy").subject.settings
    assert (chosen["short_side"], chosen["windows"], chosen["stride"]) == (100, [], 7)


def nearest_by_loops(segmenter: OVDiff, image: np.ndarray, x: int, y: int, label: int) -> Any:
    """Per feature space: similarity, query, region, kind and source of the nearest prototype."""
    settings = segmenter.settings
    working = resized(image, settings.short_side, settings.max_long_side)
    down = (y + 0.5) / image.shape[0] * working.shape[0]
    across = (x + 0.5) / image.shape[1] * working.shape[1]
    region = "foreground" if label else "background"
    best: dict[str, Any] = {}
    for window in windows_of(working.shape[:2], settings.windows, settings.stride, whole=False):
        if not (window.top <= down < window.bottom and window.left <= across < window.right):
            continue
        for name, extractor in segmenter._extractors.items():
            (features,) = extractor.features([window.cut(working)], settings.short_side)
            row = int((down - window.top) * features.shape[1] / window.size[0])
            column = int((across - window.left) * features.shape[2] / window.size[1])
            for query, support in enumerate(segmenter._sets):
                if label and query != label - 1:
                    continue
                if not label and segmenter._stuff[query]:
                    continue
                made = segmenter._representer.prototypes(support, name)[region]
                for vector, kind, source in zip(*made[:3], strict=True):
                    similarity = torch.nn.functional.cosine_similarity(
                        torch.from_numpy(vector), features[:, row, column], dim=0
                    )
                    found = (float(similarity), support, KINDS[kind], int(source), made)
                    best[name] = max(best.get(name, found), found, key=lambda one: one[0])
    return region, best


def test_explanations_name_the_true_winner_and_where_it_came_from() -> None:
    # Nothing is filtered as stuff here, so that all prototypes take part.
    segmenter = method(
        category_filter=False, extractors=("dino", "clip"), stuff_similarity=1.0, parts=3
    )
    assert isinstance(segmenter, Explaining)
    image = IMAGES[1][:, :80]
    answer = segmenter.segment([image])[0]
    background, things = np.argwhere(answer.T == 0), np.argwhere(answer.T > 0)
    for x, y in [*background[:: len(background) // 3], *things[:: len(things) // 3]]:
        found = segmenter.explain(image, x, y)
        assert found.label == answer[y, x]
        region, best = nearest_by_loops(segmenter, image, x, y, found.label)
        assert [e.source for e in found.evidence] == sorted(best, key=lambda name: -best[name][0])
        for evidence in found.evidence:
            similarity, support, kind, source, made = best[evidence.source]
            words = {"class": "the mean", "instance": f"picture {source}", "part": f"part {source}"}
            assert evidence.finding == f"{words[kind]} of the {region} of {support.name!r}"
            assert evidence.similarity == pytest.approx(similarity, abs=1e-5)
            inside = made.regions >= 0
            if kind == "part":
                inside = made.regions == source
            if kind == "instance":
                inside[[i for i in range(len(inside)) if i != source]] = False
            areas = inside.mean(axis=(1, 2))
            shares = [one.mask.mean() for one in evidence.exhibits if one.mask is not None]
            np.testing.assert_allclose(shares, sorted(areas[areas > 0])[::-1])
            pictures = support.images
            order = np.argsort(-areas, kind="stable")
            for one, picture in zip(evidence.exhibits, order, strict=False):
                assert (one.image == pictures[picture]).all()


@pytest.mark.parametrize(
    "values",
    [
        {"pictures": 0}, {"extractors": ""}, {"extractors": "sd,sd"}, {"kinds": ""}, {"parts": 0},
        {"filter_most": 20}, {"stride": 0}, {"windows": "0"}, {"short_side": -1}, {"prompt": "a"},
        {"pamr_dilations": ""}, {"pamr_dilations": "1,0"},
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="settings: "):
        override(OVDiffSettings, values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"extractors": "sd", "sd_layers": "3,16"}, r"no layer 16; there are 0\.\.15"),
        ({"extractors": "clip", "clip_layer": 9}, "clip_layer=9"),
    ],
)
def test_what_the_weights_do_not_have_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        method(**values)
