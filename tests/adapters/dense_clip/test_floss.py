"""FLOSS: how templates are chosen for a class, and how experts are fused, by steps written out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from torch.nn import functional

from ovbench.adapters.dense_clip.floss import FLOSS, FLOSSDINOiser, FLOSSMaskCLIP
from ovbench.adapters.dense_clip.floss import experts as parts
from ovbench.adapters.dense_clip.floss.choosing import best, entropies, fuse, ranked
from ovbench.adapters.dense_clip.floss.experts import Experts
from ovbench.adapters.parts.templates import templates
from ovbench.datasets import load_dataset
from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import override
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Vocabulary
from ovbench.harness.registry.methods import load_method
from ovbench.harness.run.conformance import conformance_checks

SMALL: dict[str, Any] = {
    "short_side": 48, "window": 32, "window_stride": 16, "prompts": "clip7", "pictures": 4,
    "experts": "toyworld",
}  # fmt: skip
VOCABULARY = Vocabulary(
    (ClassQuery("disk", ("circle",)), ClassQuery("star")), Background(("background", "grass"))
)
SAMPLES = load_dataset("toyworld")
IMAGE = SAMPLES.load(1).image


BASES: Mapping[str, tuple[Any, dict[str, Any]]] = {
    "naclip": (FLOSS, {}),
    "maskclip": (FLOSSMaskCLIP, {}),
    "clip_dinoiser": (FLOSSDINOiser, {"guide": "teacher"}),
}


def built(vocabulary: Vocabulary = VOCABULARY, base: str = "naclip", **settings: Any) -> Experts:
    kind, own = BASES[base]
    chosen = override(kind.Settings, {**SMALL, **own, **settings})
    made: Experts = kind(chosen, Runtime(checkpoints="toy"))
    made.prepare(vocabulary)
    return made


def enlarged(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return functional.interpolate(maps[None], size, mode="bilinear")[0]


def test_who_finds_its_own_class_is_believed_and_of_several_the_surest() -> None:
    random = torch.Generator().manual_seed(0)
    owners = torch.tensor([0, 0, 1, 2, 2, 3])
    base = torch.randn(6, 4, 5, generator=random)
    base[5] -= 9  # the last expert's class is nowhere likely, and it is not enlarged
    experts = (2 * base + torch.randn(4, 6, 4, 5, generator=random)).softmax(dim=1)
    default = base.softmax(dim=0)
    size = (13, 17)
    found = fuse(experts, default, owners, size)
    whole, fallback = [enlarged(one, size) for one in experts], enlarged(default, size)
    kinds = set()
    for y in range(size[0]):
        for x in range(size[1]):
            claims = [
                (float(maps[:, y, x].max()), -number)
                for number, maps in enumerate(whole)
                if owners[maps[:, y, x].argmax()] == number
            ]
            kinds.add(min(len(claims), 2))
            expected = whole[-max(claims)[1]] if claims else fallback
            torch.testing.assert_close(found[:, y, x], expected[:, y, x])
    assert kinds == {0, 1, 2}


@pytest.mark.parametrize("owners", [[0, 1, 2, 3], [0, 1, 1, 2]])
def test_entropies_go_by_the_class_that_a_pixel_is_given(owners: list[int]) -> None:
    likely = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(0)).softmax(dim=0)
    classes = max(owners) + 1
    sums, counts = entropies(likely, torch.tensor(owners), classes)
    expected_sums, expected_counts = np.zeros(classes), np.zeros(classes)
    for pixel in likely.flatten(1).T.double().numpy():
        merged = np.array(
            [max(p for p, o in zip(pixel, owners, strict=True) if o == c) for c in range(classes)]
        )
        given = merged.argmax()
        expected_sums[given] -= (merged * np.log(merged)).sum()
        expected_counts[given] += 1
    np.testing.assert_allclose(sums.numpy(), expected_sums, rtol=1e-5)
    np.testing.assert_array_equal(counts.numpy(), expected_counts)


def test_a_class_has_the_templates_that_are_surest_where_they_see_it() -> None:
    sums = np.array([[6.0, 0.0], [1.0, 0.0], [8.0, 0.0], [0.0, 0.0]])
    counts = np.array([[3, 0], [1, 0], [2, 0], [0, 0]])  # means 2, 1, 4; the last sees none
    first, unseen = best(sums, counts, 2)
    assert first.tolist() == [1, 0]
    assert sorted(unseen.tolist()) == [0, 1, 2, 3]
    assert best(sums, counts, 9)[0].tolist() == [1, 0, 2]


def ranking(tmp_path: Path, names: Sequence[str], shift: int = 1) -> Path:
    """As the authors write it: all templates, the surest first, those that see nothing too.

    The i-th class's surest template is the one of number ``i * shift``.
    """
    classes = {
        name: {
            "entropy_ranking": [
                {"template_id": (i * 7 + number * shift) % 80, "entropy": i / 80, "rank": i + 1,
                 "pixel_percentage": 0.0 if i == 1 else 0.5}
                for i in range(80)
            ]
        }
        for number, name in enumerate(names)
    }  # fmt: skip
    path = tmp_path / "template_rankings_naclip_x.json"
    path.write_text(json.dumps({"model": "naclip", "dataset": "x", "classes": classes}))
    return path


def test_the_authors_ranking_is_read_by_names(tmp_path: Path) -> None:
    path = ranking(tmp_path, ["disk", "trafficlight", "boat"])
    found = ranked(path, [["traffic light"], ["vessel", "Ship"], ["disk"]], 80, 4)
    assert [one.tolist() for one in found] == [[1, 15, 22, 29], [2, 16, 23, 30], [0, 14, 21, 28]]
    with pytest.raises(UsageError, match=r"no templates of 'a', 'b', 'c' and 1 more; take the nam"):
        ranked(path, [["a"], ["b"], ["c"], ["d"]], 80, 4)
    with pytest.raises(UsageError, match="ranks templates beyond the 7 there are"):
        ranked(path, [["disk"]], 7, 4)
    for damage in ('{"classes": {"a": 1}}', "[]", "{", '{"classes": {"a": {}}}'):
        path = tmp_path / "damaged.json"
        path.write_text(damage)
        with pytest.raises(UsageError, match=r"damaged\.json: is no ranking of templates"):
            ranked(path, [["a"]], 80, 4)


def test_a_ranking_of_as_many_other_classes_is_refused(tmp_path: Path) -> None:
    method = built(Vocabulary.of("disk", "star"), prompts="single", pictures=1)
    method.settings = replace(method.settings, prompts="imagenet80")
    method._pictures, method._ranking = None, ranking(tmp_path, ["star", "disk"], shift=3)
    method.prepare(Vocabulary.of("disk", "star"))
    chosen = method._chosen(method.text.expand(80, -1, -1))
    assert [one.tolist() for one in chosen] == [[3, 17, 24, 31], [0, 14, 21, 28]]
    with pytest.raises(UsageError, match="ranks no templates of 'sea', 'sky'; take the names it"):
        method.prepare(Vocabulary.of("sea", "sky"))


@pytest.mark.parametrize("base", BASES)
@torch.inference_mode()
def test_texts_are_of_the_chosen_templates_and_labels_of_the_fused(
    base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = [np.array([0, 3]), np.array([5]), np.array([1, 2])]
    monkeypatch.setattr(Experts, "_chosen", lambda *_: known)
    method = built(base=base, window=0, short_side=96)
    texts, asked = VOCABULARY.query_texts, templates("clip7")
    as_long = base != "naclip"  # MaskCLIP's wrapper leaves an average as long as it is
    for number, chosen in enumerate(known):
        own = method.clip.embed_queries(texts, [asked[i] for i in chosen], length=as_long)
        torch.testing.assert_close(method._experts[number], own, atol=1e-5, rtol=0)
    default = method.clip.embed_queries(texts, asked, length=as_long)
    torch.testing.assert_close(method.text, default, atol=1e-6, rtol=0)
    assert as_long == bool((default.norm(dim=1) < 0.9999).any())
    pixels = method._input(IMAGE)
    unit = functional.normalize(method.features(pixels[None])[0], dim=0)
    every = torch.cat([method._experts, method.text[None]])
    likely = (100 * torch.einsum("eqd,dhw->eqhw", every, unit)).softmax(dim=1)
    owners = torch.tensor([0, 0, 1, 1, 2])
    large = fuse(likely[:-1], likely[-1], owners, (pixels.shape[1], pixels.shape[2]))
    expected = owners.numpy()[enlarged(large, IMAGE.shape[:2]).argmax(dim=0).numpy()]
    (answer,) = method.segment([IMAGE])
    assert len(np.unique(expected)) > 1
    assert (answer == expected).mean() > 0.999


@torch.inference_mode()
def test_features_are_those_of_the_method_it_is_put_on() -> None:
    method = built(base="maskclip")
    pixels = method._input(IMAGE)
    windows = method._windows(pixels).cut(pixels)
    expected = method.clip.dense_features(windows, residual=True).values
    torch.testing.assert_close(method.features(windows), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("base", ["naclip", "maskclip"])
@torch.inference_mode()
def test_a_template_is_weighed_by_what_it_alone_answers(base: str) -> None:
    """NACLIP averages cosines over windows, MaskCLIP probabilities; both at the picture's size."""
    method = built(Vocabulary.of("disk", "star", "grass"), base=base, prompts="single")
    each = method.clip.embed_queries(["a disk", "a star", "the grass"], ("{}",))[None]
    sums, counts = method._entropies(IMAGE, each)
    pixels = method._input(IMAGE)
    layout = method._windows(pixels)
    windows = layout.cut(pixels)
    assert len(windows) > 1
    maps = []
    for unit in functional.normalize(method.features(windows), dim=1):
        found = 100 * torch.einsum("qd,dhw->qhw", each[0], unit)
        found = found.softmax(dim=0) if base == "maskclip" else found
        maps.append(enlarged(found, (layout.rows.length, layout.columns.length)))
    merged = enlarged(layout.average(maps), IMAGE.shape[:2])
    likely = merged if base == "maskclip" else merged.softmax(dim=0)
    expected = entropies(likely, torch.arange(3), 3)
    np.testing.assert_allclose(sums[0], expected[0].numpy(), rtol=1e-3)
    np.testing.assert_allclose(counts[0], expected[1].numpy(), atol=2)


@torch.inference_mode()
def test_windows_are_fused_one_by_one_and_averaged() -> None:
    method = built()
    pixels = method._input(IMAGE)
    layout = method._windows(pixels)
    found = functional.normalize(method.features(layout.cut(pixels)), dim=1)
    assert len(found) > 1
    allowed = np.array([True] * 5)
    whole = method._fused(found, allowed, layout)
    every = torch.cat([method._experts, method.text[None]])
    likely = (100 * torch.einsum("eqd,ndhw->neqhw", every, found)).softmax(dim=2)
    owners = torch.tensor([0, 0, 1, 1, 2])
    single = [fuse(one[:-1], one[-1], owners, (32, 32)) for one in likely]
    torch.testing.assert_close(whole, layout.average(single))
    some = method._fused(found, np.array([False, False, True, True, True]), layout)
    assert (some[:2] == 0).all()
    torch.testing.assert_close(some.sum(dim=0), torch.ones_like(some[0]))


def folder(tmp_path: Path, count: int = 10) -> Path:
    home = tmp_path / "pictures"
    home.mkdir()
    for i in range(count):
        Pillow.fromarray(SAMPLES.load(i).image[:48, :64]).save(home / f"{i:03}.png")
    return home


def test_pictures_of_a_folder_are_weighed_once_and_who_is_killed_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = folder(tmp_path)
    seen: list[int] = []
    weigh = Experts._entropies

    def watched(self: Experts, *given: Any) -> Any:
        seen.append(1)
        if len(seen) == 9:
            raise KeyboardInterrupt
        return weigh(self, *given)

    monkeypatch.setattr(Experts, "_entropies", watched)
    settings: dict[str, Any] = {"experts": f"{home}/", "pictures": 0, "prompts": "single"}
    with pytest.raises(KeyboardInterrupt):
        built(**settings)
    whole = built(**settings)
    assert len(seen) == 9 + 2  # eight were kept
    (record,) = [one for one in whole.checkpoints if one.role == "archive"]
    assert (record.name, len(record.sha256 or "")) == ("10 pictures", 64)
    again = built(**settings)
    assert len(seen) == 11
    assert torch.equal(again._experts, whole._experts)


def test_more_pictures_keep_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = folder(tmp_path)
    monkeypatch.setattr(parts, "TOGETHER", 2)
    first = built(experts=f"{home}/", pictures=4, experts_per_class=1)
    assert len(np.unique(first.segment([IMAGE])[0])) > 1
    monkeypatch.setattr(Experts, "_entropies", lambda *_: pytest.fail("weighed again"))
    built(experts=f"{home}/", pictures=2, experts_per_class=2)


@pytest.mark.parametrize(
    ("name", "more"),
    [("floss", {}), ("floss_maskclip", {}), ("floss_clip_dinoiser", {"guide": "teacher"})],
)
def test_contract(name: str, more: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(3)]
    settings = {**SMALL, **more, "prompts": "single", "pictures": 2}
    outcomes = conformance_checks(
        lambda: load_method(name, settings=settings, device="cpu", checkpoints="toy"),
        (VOCABULARY, Vocabulary.of("sea", "sky")),
        images,
    )
    assert [(o.name, o.finding) for o in outcomes if not o.passed] == []


def test_what_does_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="window_multiple must be 1: experts are fused"):
        built(window_multiple=8)
    with pytest.raises(UsageError, match="no such folder; its pictures are looked at"):
        built(experts=f"{tmp_path}/nowhere/")
    method = built()
    method._pictures, method._ranking = None, ranking(tmp_path, ["disk"])
    with pytest.raises(UsageError, match="prompts=clip7: toyworld ranks the templ"):
        method.prepare(VOCABULARY)
    with pytest.raises(UsageError, match="no miniature of floss"):
        built(experts="floss_naclip_voc20")
    with pytest.raises(UsageError, match="background_rule must be false: it is of texts"):
        built(base="clip_dinoiser", background_rule=True)
