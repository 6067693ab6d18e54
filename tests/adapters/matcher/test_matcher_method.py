"""Matcher as a method, with the packaged miniatures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_sam2
import torch
from prompted import perseg_root, picture, shown, vocabulary

from ovbench.adapters import matcher as module
from ovbench.adapters.matcher import Matcher
from ovbench.adapters.matcher.grid import Grid
from ovbench.adapters.matcher.masks import Asking, Found, ask
from ovbench.adapters.matcher.matching import match_both_ways
from ovbench.adapters.matcher.settings import MatcherSettings
from ovbench.datasets import load_dataset
from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.vocabulary import ClassQuery, Exemplar, Vocabulary
from ovbench.harness.registry.methods import load_method
from ovbench.harness.run.runner import evaluate
from ovbench.models.patches.encoder import PatchEncoder
from ovbench.models.sam.model import OFFICIAL, Sam, build_sam
from ovbench.models.sam.proposals import point_grid

ONE = vocabulary("thing")
FEW: dict[str, Any] = {"grid": 0, "samples": 3, "most": 2, "multimask": False}
RUNTIME = Runtime(checkpoints="toy")


def method(prompt: Vocabulary = ONE, **changes: Any) -> Matcher:
    made = Matcher(replace(MatcherSettings(), **{**FEW, **changes}), RUNTIME)
    made.prepare(prompt)
    return made


def of(*exemplars: Exemplar) -> Vocabulary:
    return Vocabulary((ClassQuery("thing", exemplars=exemplars),), ONE.background)


def test_blanks_are_filled_in_by_the_weights() -> None:
    assert method().settings.resolution == 96
    assert [c.role for c in method().checkpoints] == ["dinov2", "sam"]
    with pytest.raises(UsageError, match="resolution=100 must be a multiple of 8"):
        method(resolution=100)
    # 518 is what the released code squashes to, and what DINOv2's configuration says.
    assert method(resolution=64)._references[0].features.shape == (64, 128)


def test_pictures_of_a_class_stand_one_behind_the_other() -> None:
    both = method(of(shown(0), shown(1)))._references[0]
    each = [method(of(shown(n)))._references[0] for n in (0, 1)]
    torch.testing.assert_close(both.features, torch.cat([r.features for r in each]))
    np.testing.assert_array_equal(both.inside, np.concatenate([r.inside for r in each]))
    torch.testing.assert_close(both.features.norm(dim=1), torch.ones(288))


def test_it_finds_the_shown_object_in_its_own_picture() -> None:
    (exemplar,) = ONE.classes[0].exemplars
    made = method()
    made.segment([exemplar.image])
    features = made._references[0].features
    # Every cell is most alike to itself, so that the matches are the object's own cells.
    similarity = (features @ features.mT).double().numpy()
    inside = made._references[0].inside
    matches = match_both_ways(similarity, inside)
    assert set(matches.cells) <= set(np.flatnonzero(inside))
    x, y = made._centres_of(matches.cells).T.astype(int)
    squashed = exemplar.mask[y * 40 // 96, x * 60 // 96]  # type: ignore[index]
    assert squashed.mean() > 0.7


def test_saliency_takes_the_place_of_masks() -> None:
    exemplar = shown(0)
    without = of(Exemplar(exemplar.image))
    made = method(without, reference="saliency", saliency_threshold=0.0)
    assert made._references[0].inside.all()
    nothing = method(without, reference="saliency", saliency_threshold=1.0)
    assert np.flatnonzero(nothing._references[0].inside).tolist() == [6 * 12 + 6]
    # A mask that was given is not looked at.
    with_mask = method(of(exemplar), reference="saliency")
    np.testing.assert_array_equal(
        with_mask._references[0].inside, method(without, reference="saliency")._references[0].inside
    )
    assert [c.role for c in made.checkpoints] == ["dinov2", "sam", "dino", "saliency"]


def test_where_no_mask_passes_the_best_one_answers() -> None:
    strict = method(pred_iou=2.0).segment([picture(5)])[0]
    loose = method(pred_iou=0.0, stability=0.0, merged=1).segment([picture(5)])[0]
    assert strict.any()
    assert loose.any()


def test_the_grid_answers_alone_unless_a_preset_says_otherwise() -> None:
    """No prompt's mask passes here, and all of the grid's do."""
    strict = {"pred_iou": 2.0, "grid": 3, "grid_pred_iou": 0.0, "grid_stability": 0.0, "nms": 1.0}
    points = np.array([[44.0, 44.0], [52.0, 44.0]])

    def masks(**changes: Any) -> np.ndarray[Any, Any]:
        made = method(**{**strict, **changes})
        square = picture(1, (96, 96))
        asked = _Asked(encoded=made._grid.encode(square), grid=made._grid.masks(square), seed=7)
        found: np.ndarray[Any, Any] = made._masks(asked, points)  # type: ignore[arg-type]
        return found

    assert len(masks()) == 9
    (alone,) = masks(**Matcher.presets["prompts_answer"])
    unfiltered = masks(pred_iou=0.0, stability=0.0, grid=0)
    assert any(np.array_equal(alone, mask) for mask in unfiltered)


def test_the_grid_is_asked_once_for_all_classes_runs_and_methods(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    """And a picture is embedded once, whether its grid's masks were kept or not."""
    asked: list[int] = []
    embedded: list[int] = []

    def counted(sam: Sam, *_: Any, **prompts: Any) -> Any:
        points, boxes = prompts["points"], prompts.get("boxes")
        asked.append(points.shape[1] == 1 and len(points) == 49 and boxes is None)
        return decode_many(sam, *_, **prompts)

    def encoded(sam: Sam, image: np.ndarray) -> Any:
        embedded.append(1)
        return encode(sam, image)

    decode_many, encode = Sam.decode_many, Sam.encode
    monkeypatch.setattr(Sam, "decode_many", counted)
    monkeypatch.setattr(Sam, "encode", encoded)
    many = vocabulary("a", "b", "c")
    first = method(many, grid=7).segment([picture(5)])
    assert (sum(asked), sum(embedded)) == (1, 1)
    again = method(many, grid=7).segment([picture(5)])
    assert (sum(asked), sum(embedded)) == (1, 2)
    np.testing.assert_array_equal(first, again)
    assert len(list((cache / "regions").glob("*.npz"))) == 1


@pytest.mark.parametrize("loose", [{}, {"grid_pred_iou": 0.3, "grid_stability": 0.3}])
def test_kept_masks_answer_as_those_asked_for_anew(
    loose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The grid asked as any prompts are, in the order of its points."""
    settings = {"grid": 9, "multimask": True, "samples": 4, "most": 2, **loose}
    pictures = [picture(5), picture(7, (50, 30))]
    kept = method(vocabulary("a", "b"), **settings).segment(pictures)

    def anew(grid: Grid, image: np.ndarray) -> list[Found]:
        encoded = grid.encode(image)
        points = point_grid(9, encoded.size)[:, None].numpy()
        least = [settings.get(name, usual) for name, usual in
                 (("grid_pred_iou", 0.88), ("grid_stability", 0.95))]  # fmt: skip
        return [ask(grid._sam, encoded, Asking([points], None, False, *least))]

    monkeypatch.setattr(Grid, "masks", anew)
    expected = method(vocabulary("a", "b"), **settings).segment(pictures)
    for ours, theirs in zip(kept, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert any(one.any() for one in kept)


@pytest.mark.parametrize(
    "changes",
    [{"grid": 3}, {"prompts": "centres", "centres": 3}, {"box": True}, {"merge_by": "share"}],
    ids=str,
)
def test_other_ways_answer_too(changes: dict[str, Any]) -> None:
    answer = method(vocabulary("a", "b"), **changes).segment([picture(5, (50, 30))])[0]
    assert answer.shape == (50, 30)
    assert 0 < answer.max() <= 2


def test_sam_2_takes_sams_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its grid, from the kept masks too."""
    monkeypatch.setattr(module, "load_promptable", lambda *_: tiny_sam2.sam2())
    loose = {"grid": 4, "grid_pred_iou": 0.2, "grid_stability": 0.2, "pred_iou": 0.2}
    first, again = (method(vocabulary("a", "b"), **loose).segment([picture(5)])[0] for _ in "ab")
    assert first.any()
    np.testing.assert_array_equal(first, again)


def test_the_seed_draws_the_prompts() -> None:
    made = [Matcher(replace(MatcherSettings(), **FEW), replace(RUNTIME, seed=s)) for s in (0, 0, 1)]
    points = np.array(list(np.ndindex(4, 5)), dtype=float) * 8 + 4
    drawn = []
    for matcher in made:
        matcher.prepare(ONE)
        encoded = matcher._sam.encode(picture(1, (96, 96)))
        asked = _Asked(encoded=encoded, grid=[], seed=7)
        drawn.append(matcher._masks(asked, points))  # type: ignore[arg-type]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert drawn[0].shape != drawn[2].shape or (drawn[0] != drawn[2]).any()


class _Asked:
    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


def test_wrong_input() -> None:
    with pytest.raises(UsageError, match=r"matcher .* none shows cat.*perseg"):
        method(Vocabulary.of("cat", background=True))
    with pytest.raises(UsageError, match=r"number 1, has none; .*--set reference=saliency"):
        method(of(Exemplar(picture(0))))
    for bad in ({"fewest": "0"}, {"most": "2", "fewest": "3"}, {"merged": "0"}, {"grid": "-1"}):
        with pytest.raises(UsageError):
            load_method("matcher", settings=bad, checkpoints="toy", device="cpu")


@pytest.mark.parametrize("preset", ["fss", "part", "zero_shot", "prompts_answer"])
def test_presets_are_built(preset: str) -> None:
    load_method("matcher", preset=preset, checkpoints="toy", device="cpu")


def test_perseg(sample_data: Path, tmp_path: Path) -> None:
    dataset = load_dataset("perseg", root=perseg_root(sample_data, tmp_path))
    made = load_method("matcher", checkpoints="toy", device="cpu", settings=FEW)
    result = evaluate(made, dataset, output=tmp_path / "run")
    assert result is not None
    assert result["run"]["num_images"] == 6
    assert result["metrics"]["miou"] > 0


@pytest.mark.slow
def test_the_real_sizes_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights: DINOv2 ViT-L/14 at 518 pixels, SAM ViT-B at 1024."""
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=518,
        patch_size=14,
    )
    encoder = PatchEncoder(Dinov2Model(config), (), Runtime())
    monkeypatch.setattr(module, "load_patch_encoder", lambda *_: encoder)
    sam = Sam(build_sam(OFFICIAL["vit_b"]), (), Runtime())
    monkeypatch.setattr(module, "load_promptable", lambda *_: sam)
    made = method(pred_iou=0.0, stability=0.0)
    assert made.settings.resolution == 518
    assert made._references[0].features.shape == (37 * 37, 1024)
    assert made.segment([picture(1, (375, 500))])[0].shape == (375, 500)
