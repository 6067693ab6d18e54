"""SAM 2, against transformers' own model and, for what goes in and out, torchvision."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from tiny_sam2 import SIDE, sam2_model, sam2_video_model
from torch.nn import functional
from torchvision.transforms import v2  # type: ignore[import-untyped]

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.sam import decoding, loading
from ovbench.models.sam.decoding import Answers
from ovbench.models.sam.loading import load_promptable
from ovbench.models.sam.model import Sam, load_sam
from ovbench.models.sam.promptable import EncodedImage
from ovbench.models.sam.proposals import ProposalSettings, propose
from ovbench.models.sam.sam2 import Sam2

RECORDS = (CheckpointRecord("sam", "tiny", None, None),)
TOY = Runtime(checkpoints="toy")


@pytest.fixture(scope="module")
def sam2() -> Sam2:
    return Sam2(sam2_model(), RECORDS, Runtime())


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """Wider than high, larger than the model's input, with some structure."""
    coarse = np.random.default_rng(0).integers(0, 256, (7, 10, 3), dtype=np.uint8)
    return np.ascontiguousarray(np.kron(coarse, np.ones((10, 10, 1), np.uint8)))


@pytest.fixture(scope="module")
def pixels(image: np.ndarray) -> torch.Tensor:
    """As the authors bring an image to the model."""
    steps = [
        v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Resize((SIDE, SIDE)),
        v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ]  # fmt: skip
    return v2.Compose(steps)(image)[None]


@pytest.fixture(scope="module")
def encoded(sam2: Sam2, image: np.ndarray) -> EncodedImage:
    return sam2.encode(image)


def test_an_image_is_embedded_as_by_the_stock_model(
    sam2: Sam2, encoded: EncodedImage, pixels: torch.Tensor
) -> None:
    *finer, features = sam2.model.get_image_embeddings(pixels)
    torch.testing.assert_close(encoded.features, features, atol=1e-4, rtol=1e-4)
    for ours, theirs in zip(encoded.finer, finer, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


PROMPTS: dict[str, dict[str, Any]] = {
    "point": {"points": [(31.0, 12.0)], "labels": [1]},
    "points": {"points": [(31.0, 12.0), (80.0, 50.0), (5.0, 66.0)], "labels": [1, 1, 0]},
    "box": {"box": (10.0, 20.0, 60.0, 55.0)},
    "mask": {"mask_input": np.random.default_rng(1).normal(0, 3, (16, 16))},
}
PROMPTS["all"] = {**PROMPTS["points"], **PROMPTS["box"], **PROMPTS["mask"]}


def no_points(points: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    return torch.zeros(*points.shape[:2], 0, 32)


def stock_answer(
    sam2: Sam2, encoded: EncodedImage, prompt: dict[str, Any], multimask: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Low-resolution logits ``(n, h, w)`` and IoU ``(n,)`` by ``Sam2Model`` as it is called.

    But for a mask alone, which gets a point of none there: no point at all, as its authors ask.
    """
    scale = torch.tensor([SIDE / 100, SIDE / 70])
    given: dict[str, Any] = {}
    if "points" in prompt:
        given["input_points"] = (torch.tensor(prompt["points"]) * scale)[None, None]
        given["input_labels"] = torch.tensor(prompt["labels"])[None, None]
    if "box" in prompt:
        given["input_boxes"] = (torch.tensor(prompt["box"]) * scale.repeat(2))[None, None]
    if "mask_input" in prompt:
        given["input_masks"] = torch.tensor(prompt["mask_input"]).float()[None, None]
    without = patch.object(sam2.model.prompt_encoder, "_embed_points", no_points)
    with torch.inference_mode(), without if given.keys() == {"input_masks"} else nullcontext():
        found = sam2.model(
            image_embeddings=[*encoded.finer, encoded.features],
            multimask_output=multimask,
            **given,
        )
    return found.pred_masks[0, 0], found.iou_scores[0, 0]


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("kind", PROMPTS)
def test_prompts_are_answered_as_by_the_stock_model(
    sam2: Sam2, encoded: EncodedImage, kind: str, multimask: bool
) -> None:
    answer = sam2.predict(encoded, **PROMPTS[kind], multimask=multimask)
    low_res, iou = stock_answer(sam2, encoded, PROMPTS[kind], multimask)
    masks = functional.interpolate(low_res[None], (70, 100), mode="bilinear")[0] > 0
    assert answer.masks.shape == (3 if multimask else 1, 70, 100)
    assert 0 < answer.masks.mean() < 1
    np.testing.assert_allclose(answer.iou, iou, atol=1e-5)
    np.testing.assert_allclose(answer.low_res, low_res.clamp(-32, 32), atol=1e-3)
    assert (answer.masks == masks.numpy()).mean() >= 0.999


@pytest.mark.parametrize("cached", [3 * 16 * 32 * 2, 2**20], ids=["three", "all"])
def test_prompts_together_are_answered_as_one_by_one(
    sam2: Sam2, encoded: EncodedImage, cached: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "CACHED", cached)
    places = torch.rand(21, 2, 2, generator=torch.Generator().manual_seed(0)) * SIDE
    labels = torch.ones(21, 2, dtype=torch.int)
    boxes = torch.cat([places.amin(dim=1), places.amax(dim=1)], dim=1)
    prior = torch.randn(16, 16, generator=torch.Generator().manual_seed(1))
    for multimask in (False, True):
        asked = {"points": places, "labels": labels, "boxes": boxes}
        many = sam2.decode_many(encoded, **asked, mask=prior, multimask=multimask)
        masks = prior[None, None].expand(21, -1, -1, -1)
        low_res, iou = sam2.decode(encoded, **asked, masks=masks, multimask=multimask)
        torch.testing.assert_close(many.low_res, low_res.flatten(0, 1), atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(many.iou, iou.flatten(), atol=1e-5, rtol=1e-5)
        assert many.prompt.tolist() == np.repeat(np.arange(21), 3 if multimask else 1).tolist()
        middle = float(iou.median())
        best = sam2.decode_many(encoded, **asked, mask=prior, multimask=multimask, above=middle)
        assert torch.equal(best.iou, many.iou[many.iou > middle])
        assert torch.equal(best.prompt, many.prompt[many.iou > middle])


def test_a_prediction_can_be_the_next_mask_prompt(sam2: Sam2, encoded: EncodedImage) -> None:
    first = sam2.predict(encoded, points=[(31, 12)], labels=[1])
    second = sam2.predict(encoded, mask_input=first.low_res[0], multimask=False)
    assert second.low_res.shape == (1, 16, 16)


@pytest.mark.parametrize("shape", [(1, 200), (300, 2), (1, 1)])
def test_a_picture_as_thin_as_a_line(sam2: Sam2, shape: tuple[int, int]) -> None:
    encoded = sam2.encode(np.full((*shape, 3), 90, np.uint8))
    answer = sam2.predict(encoded, points=[[0, 0]], labels=[1], multimask=False)
    assert answer.masks.shape == (1, *shape)


def test_frozen_and_the_decoder_stays_exact(sam2: Sam2, image: np.ndarray) -> None:
    half = Sam2(sam2_model(), RECORDS, Runtime(precision="bf16"))
    assert not half.model.training
    assert not any(p.requires_grad for p in half.model.parameters())
    assert {p.dtype for p in half.model.mask_decoder.parameters()} == {torch.float32}
    encoded, exact = half.encode(image), sam2.encode(image)
    assert encoded.features.dtype == torch.float32
    assert not torch.equal(encoded.features, exact.features)
    error = (encoded.features - exact.features).abs().mean() / exact.features.abs().mean()
    assert error < 0.1


class Discs(torch.nn.Module):
    """Answers a point with three discs on it, soft and of doubtful worth; see SAM's own test."""

    def forward(self, *, sparse_prompt_embeddings, **_):  # type: ignore[no-untyped-def]
        x, y = sparse_prompt_embeddings[:, :, 0].permute(2, 0, 1)[..., None, None, None]
        grid = torch.arange(16) * 4 + 2.0
        distance = ((grid - x) ** 2 + (grid[:, None] - y) ** 2).sqrt()
        radius = torch.tensor([4.0, 9.0, 16.0])[:, None, None]
        worth = 0.8 + 0.2 * torch.sin(x + 3 * y + radius)
        return (radius - distance) / (0.5 + (x + 2 * y) % 7), worth[..., 0, 0]


class Asked(Sam2):
    """Asks its decoder about many prompts as about one: a decoder of Discs has no inside."""

    def decode_many(self, encoded, *, above=0.0, **prompts):  # type: ignore[no-untyped-def]
        low_res, iou = self.decode(encoded, **prompts)
        good = iou > above
        return Answers(low_res[good], iou[good], good.nonzero()[:, 0])


def test_proposals_are_those_of_the_steps_one_by_one(image: np.ndarray) -> None:
    """As ``SAM2AutomaticMaskGenerator`` takes them; both axes of an image have their own scale."""
    from torchvision.ops import nms

    model = sam2_model()
    model.prompt_encoder.forward = lambda input_points, **_: (input_points, None)
    model.mask_decoder.forward = Discs().forward
    sam = Asked(model, RECORDS, Runtime())
    settings = ProposalSettings(9, 16, 0.85, 0.4, 0.5, 0.4)
    found = propose(sam, sam.encode(image), settings)

    masks, scores, boxes, places = [], [], [], []
    for row, column in np.ndindex(9, 9):
        x, y = (column + 0.5) / 9, (row + 0.5) / 9
        logits, worth = Discs()(sparse_prompt_embeddings=torch.tensor([[[[x * 64, y * 64]]]]))
        full = functional.interpolate(logits[0], (70, 100), mode="bilinear")[0]
        for one, score in zip(full, worth[0, 0].tolist(), strict=True):
            stability = float((one > 0.5).sum() / (one > -0.5).sum())
            if score > 0.85 and stability >= 0.4:
                rows, columns = (one > 0).nonzero().T
                masks.append((one > 0).numpy())
                scores.append(score)
                boxes.append([columns.min(), rows.min(), columns.max(), rows.max()])
                places.append((x * 100, y * 70))
    kept = nms(torch.tensor(boxes).float(), torch.tensor(scores), 0.4).tolist()
    assert len(masks) > len(kept) == len(found) > 10
    np.testing.assert_array_equal(found.masks, [masks[i] for i in kept])
    np.testing.assert_allclose(found.predicted_iou, [scores[i] for i in kept], atol=1e-6)
    np.testing.assert_allclose(found.points, [places[i] for i in kept])


@pytest.fixture
def located(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Let every name be found at a path."""

    def at(path: Path) -> None:
        found = type("Located", (), {"path": path, "records": RECORDS})
        monkeypatch.setattr(loading, "locate", lambda role, name, runtime: found)

    return at


@pytest.mark.parametrize("made", [sam2_model, sam2_video_model])
def test_published_folders_are_read(
    made: Callable[[], Any], tmp_path: Path, located: Callable[[Path], None], image: np.ndarray,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """Those of the hub are for videos, and say nothing of it when they are read."""
    model = made()
    model.save_pretrained(tmp_path)
    located(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load_promptable("sam2.1_hiera_tiny", Runtime())
    assert not caplog.records
    assert isinstance(loaded, Sam2)
    assert (loaded.checkpoints, loaded.image_size) == (RECORDS, SIDE)
    wanted, weights = model.state_dict(), loaded.model.state_dict()
    assert all(torch.equal(weights[name], wanted[name]) for name in weights)
    assert loaded.predict(loaded.encode(image), points=[(3, 3)], labels=[1]).masks.any()


def test_folders_of_other_models_are_one_line(
    tmp_path: Path, located: Callable[[Path], None]
) -> None:
    located(tmp_path)
    for content, said in (
        ('{"model_type": "sam"}', "a model of type 'sam'"),
        ("{", "cannot be loaded"),
        ('{"model_type": "sam2"}', "cannot be loaded"),
    ):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(UsageError, match=said) as caught:
            load_promptable("someone/sam", Runtime())
        assert "\n" not in str(caught.value)


def test_names_of_either_sam_are_told_apart() -> None:
    assert isinstance(load_promptable("sam_vit_h", TOY), Sam)
    assert isinstance(load_promptable("sam2.1_hiera_large", TOY), Sam)  # its miniature stands in
    for runtime in (TOY, Runtime()):
        with pytest.raises(UsageError, match=r"is SAM 2, .*sam_vit_b"):
            load_sam("sam2.1_hiera_large", runtime)
    with pytest.raises(UsageError, match=r"did you mean 'sam2\.1_hiera_.*'\?"):
        load_promptable("sam2.1_hiera_larg", Runtime(checkpoints="real"))
