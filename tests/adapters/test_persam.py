"""PerSAM, against its steps written out with loops and the authors' own predictor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from prompted import perseg_root, picture, shown, vocabulary
from segment_anything import SamPredictor

from ovbench.adapters.persam import (
    PerSAM,
    PerSAMSettings,
    box_of,
    cosine_map,
    extreme,
    standardised_on_grid,
)
from ovbench.datasets import load_dataset
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.vocabulary import ClassQuery, Exemplar, Vocabulary
from ovbench.harness.registry.methods import load_method
from ovbench.harness.run.runner import evaluate
from ovbench.models.sam.model import OFFICIAL, Sam, build_sam, load_sam

ONE = vocabulary("thing")


@pytest.fixture(scope="module")
def sam() -> Sam:
    return load_sam("sam_vit_h", Runtime(checkpoints="toy"))


def method(sam: Sam, prompt: Vocabulary = ONE, **settings: object) -> PerSAM:
    made = PerSAM(replace(PerSAMSettings(), **settings), Runtime(), sam)  # type: ignore[arg-type]
    made.prepare(prompt)
    return made


def test_cosines_cell_by_cell() -> None:
    rng = np.random.default_rng(0)
    features, target = rng.normal(size=(5, 3, 4)), rng.normal(size=5)
    found = cosine_map(torch.tensor(features), torch.tensor(target)).numpy()
    for row, column in np.ndindex(3, 4):
        cell = features[:, row, column]
        expected = cell @ target / np.sqrt((cell @ cell) * (target @ target))
        assert found[row, column] == pytest.approx(expected)


def test_the_most_similar_place_is_x_and_y() -> None:
    values = torch.rand(6, 9, generator=torch.Generator().manual_seed(0))
    values[4, 7] = 2
    assert extreme(values) == (7, 4)
    assert extreme(torch.ones(3, 3)) == (0, 0)


def test_boxes_hold_the_mask() -> None:
    mask = np.zeros((8, 10), np.bool_)
    mask[2:5, 3:9] = True
    assert box_of(mask) == (3, 2, 8, 4)
    assert box_of(np.zeros((3, 3), np.bool_)) is None


def test_a_pixel_and_an_even_map_are_no_division_by_zero() -> None:
    for size in ((1, 1), (5, 5)):
        assert standardised_on_grid(torch.ones(size), (3, 3)).abs().max() == 0


def test_the_target_is_the_mean_of_the_cells_that_it_fills(sam: Sam) -> None:
    (query,) = ONE.classes
    (exemplar,) = query.exemplars
    encoded = sam.encode(exemplar.image)
    shares = sam.to_features(exemplar.mask, encoded)
    for filled in (0.5, 0.966):
        cells = [encoded.features[0, :, y, x] for y, x in np.ndindex(*shares.shape)
                 if shares[y, x] > filled]  # fmt: skip
        assert 1 < len(cells) < shares.numel()
        target = method(sam, filled=filled)._targets[0]
        torch.testing.assert_close(target, torch.stack(cells).mean(dim=0))
    two = replace(query, exemplars=(exemplar, shown(4)))
    each = [method(sam, vocabulary_of(replace(query, exemplars=(e,))))._targets[0]
            for e in two.exemplars]  # fmt: skip
    both = method(sam, vocabulary_of(two))._targets[0]
    torch.testing.assert_close(both, (each[0] + each[1]) / 2)


def vocabulary_of(*queries: ClassQuery) -> Vocabulary:
    return Vocabulary(queries, ONE.background)


def test_an_object_of_one_pixel_is_one_cell(sam: Sam) -> None:
    image, mask = picture(0, (200, 300)), np.zeros((200, 300), np.bool_)
    mask[150, 220] = True
    small = ClassQuery("dot", exemplars=(Exemplar(image, mask),))
    target = method(sam, vocabulary_of(small))._targets[0]
    cell = sam.encode(image).features[0, :, 150 * 96 // 300 // 8, 220 * 96 // 300 // 8]
    torch.testing.assert_close(target, cell)


def as_released(sam: Sam, image: Image, target: torch.Tensor) -> np.ndarray:
    """persam.py without what it changes in the decoder, on the authors' predictor."""
    predictor = SamPredictor(sam.model)
    predictor.set_image(image)
    features = predictor.features[0]
    unit = features / features.norm(dim=0, keepdim=True)
    similarity = torch.einsum("c,chw->hw", target / target.norm(), unit)[None, None]
    similarity = torch.nn.functional.interpolate(similarity, scale_factor=4, mode="bilinear")
    similarity = sam.model.postprocess_masks(
        similarity, input_size=predictor.input_size, original_size=predictor.original_size
    )[0, 0].numpy()
    best, worst = (np.unravel_index(f(similarity), similarity.shape)
                   for f in (np.argmax, np.argmin))  # fmt: skip
    points = np.array([best[::-1], worst[::-1]])
    labels = np.array([1, 0])
    _, _, logits = predictor.predict(points, labels, multimask_output=False)
    masks, scores, logits = predictor.predict(
        points, labels, mask_input=logits[:1], multimask_output=True
    )
    best = int(np.argmax(scores))
    y, x = np.nonzero(masks[best])
    box = np.array([x.min(), y.min(), x.max(), y.max()])
    masks, scores, _ = predictor.predict(
        points, labels, box=box[None], mask_input=logits[best : best + 1], multimask_output=True
    )
    return masks[int(np.argmax(scores))]


@pytest.mark.parametrize("size", [(40, 60), (120, 70)])
def test_unguided_it_is_the_released_cascade(sam: Sam, size: tuple[int, int]) -> None:
    made = method(sam, attention="none", semantic_prompt=False)
    image = picture(7, size)
    with torch.no_grad():
        expected = as_released(sam, image, made._targets[0])
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(made.segment([image])[0], expected)


Calls = list[dict[str, Any]]


@pytest.fixture
def calls(sam: Sam, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What SAM is asked, call by call."""
    heard: Calls = []
    predict = sam.predict

    def listening(encoded: Any, **prompt: Any) -> Any:
        heard.append(prompt)
        return predict(encoded, **prompt)

    monkeypatch.setattr(sam, "predict", listening)
    return heard


def test_the_first_prediction_is_guided_and_the_others_refine(sam: Sam, calls: Calls) -> None:
    made = method(sam)
    made.segment([picture(3)])
    first, second, third = calls
    assert first["guidance"].target is made._targets[0]
    assert first["guidance"].attention.shape == (144,)
    assert first["multimask"] is False
    for later in (second, third):
        assert not {"guidance", "multimask"} & set(later)
        assert later["mask_input"].shape == (48, 48)
    assert "box" not in first
    assert second["box"] is None
    assert len(third["box"]) == 4
    assert all(c["labels"] == (1, 0) and c["points"] is first["points"] for c in calls)


def test_what_guides_can_be_left_out(sam: Sam, calls: Calls) -> None:
    for number in (0, 1):
        calls.clear()
        method(sam, refinements=number).segment([picture(3)])
        assert len(calls) == 1 + number
    calls.clear()
    method(sam, attention="none").segment([picture(3)])
    method(sam, semantic_prompt=False).segment([picture(3)])
    guidance = [call["guidance"] for call in calls if "guidance" in call]
    assert [g.attention is None for g in guidance] == [True, False]
    assert [g.target is None for g in guidance] == [False, True]


def test_softmax_over_the_grid(sam: Sam) -> None:
    cosines = torch.linspace(-1, 1, 144).reshape(12, 12)
    made = method(sam, attention="softmax", attention_weight=3.0)
    favour = made._favour(cosines, torch.zeros(50, 50))
    assert favour is not None
    expected = np.exp(cosines.numpy().ravel())
    np.testing.assert_allclose(favour.numpy(), 3 * expected / expected.sum(), rtol=1e-5)


def test_a_mask_scores_by_how_alike_it_is_to_what_was_shown(sam: Sam) -> None:
    made = method(sam)
    encoded = sam.encode(picture(3))
    mask, score = made._look_for(encoded, 0)
    cosines = cosine_map(encoded.features[0], made._targets[0])
    values = made._at_full_size(cosines, encoded).numpy()[mask]
    assert score == pytest.approx(values.mean(), abs=1e-5)


def test_the_map_that_guides_is_a_sigmoid_of_deviations(sam: Sam) -> None:
    full = torch.rand(30, 50, generator=torch.Generator().manual_seed(0))
    favour = method(sam, attention_weight=2.0)._favour(torch.zeros(10, 10), full)
    assert favour is not None
    values = full.numpy().astype(float)
    standard = (values - values.mean()) / values.std(ddof=1)
    # Three rows and five columns fall on a cell; its middle is the middle one.
    expected = 2 / (1 + np.exp(-standard[1::3, 2::5]))
    np.testing.assert_allclose(favour.numpy().reshape(10, 10), expected, rtol=1e-4)


def test_wrong_input(sam: Sam) -> None:
    made = PerSAM(PerSAMSettings(), Runtime(), sam)
    with pytest.raises(UsageError, match=r"persam .* none shows cat.*perseg"):
        made.prepare(Vocabulary.of("cat", background=True))
    with pytest.raises(UsageError, match=r"persam needs a mask .* cat, number 1, has none"):
        made.prepare(vocabulary_of(ClassQuery("cat", exemplars=(Exemplar(picture(0)),))))
    for bad in ({"refinements": "3"}, {"filled": "1"}):
        with pytest.raises(UsageError):
            load_method("persam", settings=bad, checkpoints="toy", device="cpu")


def test_perseg(sample_data: Path, tmp_path: Path) -> None:
    dataset = load_dataset("perseg", root=perseg_root(sample_data, tmp_path))
    made = load_method("persam", checkpoints="toy", device="cpu")
    result = evaluate(made, dataset, output=tmp_path / "run")
    assert result is not None
    assert result["run"]["num_images"] == 6
    assert 0 < result["metrics"]["miou"] < 100
    assert {c["role"] for c in result["checkpoints"]} == {"sam"}


@pytest.mark.slow
def test_the_real_size_runs() -> None:
    """Random weights, at the input size of 1024 pixels."""
    torch.manual_seed(0)
    made = method(Sam(build_sam(OFFICIAL["vit_b"]), (), Runtime()))
    answer = made.segment([picture(1, (375, 500))])[0]
    assert answer.shape == (375, 500)
    assert set(np.unique(answer)) <= {0, 1}
