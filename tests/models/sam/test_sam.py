"""SAM, against the authors' own predictor and mask generator."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from segment_anything import SamAutomaticMaskGenerator, SamPredictor, sam_model_registry

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.sam import model as module
from ovbench.models.sam.decoding import Answers
from ovbench.models.sam.model import OFFICIAL, Sam, SamConfig, build_sam, load_sam
from ovbench.models.sam.promptable import EncodedImage
from ovbench.models.sam.proposals import ProposalSettings, propose

TINY = SamConfig(
    encoder_embed_dim=32,
    encoder_depth=2,
    encoder_num_heads=2,
    encoder_global_attn_indexes=(1,),
    encoder_window_size=3,
    image_size=64,
    patch_size=8,
    prompt_embed_dim=32,
    decoder_num_heads=2,
    decoder_mlp_dim=32,
    iou_head_hidden_dim=16,
)
RECORDS = (CheckpointRecord("sam", "tiny", None, None),)


def tiny_model() -> torch.nn.Module:
    """A random SAM whose logits are far enough from zero to tell masks apart."""
    torch.manual_seed(0)
    model = build_sam(TINY)
    with torch.no_grad():
        for mlp in model.mask_decoder.output_hypernetworks_mlps:
            mlp.layers[-1].weight.mul_(50)
    return model


class BarePrompts(torch.nn.Module):
    """A prompt encoder whose embeddings are the points themselves."""

    def forward(self, points, boxes, masks):  # type: ignore[no-untyped-def]
        return points[0].float(), torch.zeros(len(points[0]), 1, 8, 8)

    def get_dense_pe(self) -> torch.Tensor:
        return torch.zeros(1, 1, 8, 8)


class Discs(torch.nn.Module):
    """A mask decoder that answers a point with three discs on it, soft and of doubtful worth.

    Random weights do not do for proposals: their masks are alike wherever one asks.
    """

    def forward(self, *, sparse_prompt_embeddings, **_):  # type: ignore[no-untyped-def]
        x, y = sparse_prompt_embeddings[:, 0].T[..., None, None, None]
        grid = torch.arange(32) * 2 + 0.5
        distance = ((grid - x) ** 2 + (grid[:, None] - y) ** 2).sqrt()
        radius = torch.tensor([3.0, 8.0, 16.0])[:, None, None]
        softness = 0.5 + (x + 2 * y) % 7
        worth = 0.8 + 0.2 * torch.sin(x + 3 * y + radius)
        return (radius - distance) / softness, worth[..., 0, 0]


class Asked(Sam):
    """Asks its decoder about many prompts as about one: a decoder of Discs has no inside."""

    def decode_many(self, encoded, *, above=0.0, **prompts):  # type: ignore[no-untyped-def]
        low_res, iou = self.decode(encoded, **prompts)
        good = iou > above if above > 0 else torch.ones_like(iou, dtype=torch.bool)
        return Answers(low_res[good], iou[good], good.nonzero()[:, 0])


@pytest.fixture
def sam() -> Sam:
    return Sam(tiny_model(), RECORDS, Runtime())


@pytest.fixture
def image() -> np.ndarray:
    """Wider than high, larger than the model's input, with some structure."""
    coarse = np.random.default_rng(0).integers(0, 256, (7, 10, 3), dtype=np.uint8)
    return np.ascontiguousarray(np.kron(coarse, np.ones((10, 10, 1), np.uint8)))


PROMPTS = {
    "point": {"points": [(31.0, 12.0)], "labels": [1]},
    "points": {"points": [(31.0, 12.0), (80.0, 50.0), (5.0, 66.0)], "labels": [1, 1, 0]},
    "box": {"box": (10.0, 20.0, 60.0, 55.0)},
    "mask": {"mask_input": np.random.default_rng(1).normal(0, 3, (32, 32))},
}
PROMPTS["all"] = {**PROMPTS["points"], **PROMPTS["box"], **PROMPTS["mask"]}


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("kind", PROMPTS)
def test_prompts_are_answered_as_by_the_predictor(
    sam: Sam, image: np.ndarray, kind: str, multimask: bool
) -> None:
    prompt = {name: np.asarray(value) for name, value in PROMPTS[kind].items()}
    answer = sam.predict(sam.encode(image), **prompt, multimask=multimask)
    predictor = SamPredictor(sam.model)
    predictor.set_image(image)
    if "mask_input" in prompt:
        prompt["mask_input"] = prompt["mask_input"][None]
    renamed = {{"points": "point_coords", "labels": "point_labels"}.get(k, k): v
               for k, v in prompt.items()}  # fmt: skip
    masks, iou, low_res = predictor.predict(**renamed, multimask_output=multimask)
    assert answer.masks.shape == (3 if multimask else 1, 70, 100)
    assert 0 < answer.masks.mean() < 1
    for ours, theirs in zip((answer.masks, answer.iou, answer.low_res), (masks, iou, low_res),
                            strict=True):  # fmt: skip
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_a_prediction_can_be_the_next_mask_prompt(sam: Sam, image: np.ndarray) -> None:
    encoded = sam.encode(image)
    first = sam.predict(encoded, points=[(31, 12)], labels=[1])
    second = sam.predict(encoded, mask_input=first.low_res[0], multimask=False)
    assert second.low_res.shape == (1, 32, 32)


@pytest.mark.parametrize("shape", [(1, 200), (300, 2), (1, 1)])
def test_a_picture_as_thin_as_a_line(sam: Sam, shape: tuple[int, int]) -> None:
    """The authors' own resizing rounds 1 of 200 pixels, at an input of 64, to none."""
    encoded = sam.encode(np.full((*shape, 3), 90, np.uint8))
    answer = sam.predict(encoded, points=[[0, 0]], labels=[1], multimask=False)
    assert min(encoded.input_size) == 1 or shape == (1, 1)
    assert answer.masks.shape == (1, *shape)


def test_points_need_labels(sam: Sam, image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="labels"):
        sam.predict(sam.encode(image), points=[(1, 1)])


SETTINGS = {
    "filters": ProposalSettings(12, 50, 0.85, 0.5, 0.5, 0.4),
    "no filters": ProposalSettings(6, 64, 0.0, 0.0, 1.0, 0.6),
    "one batch": ProposalSettings(7, 49, 0.7, 0.3, 0.2, 0.9),
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=list(SETTINGS))
def test_proposals_are_those_of_the_generator(
    image: np.ndarray, settings: ProposalSettings
) -> None:
    model = tiny_model()
    model.prompt_encoder, model.mask_decoder = BarePrompts(), Discs()
    sam = Asked(model, RECORDS, Runtime())
    ours = propose(sam, sam.encode(image), settings)
    theirs = SamAutomaticMaskGenerator(model, **asdict(settings)).generate(image)
    assert len(ours) == len(theirs) > 10
    left, top, right, bottom = ours.boxes.T
    expected = {
        "segmentation": ours.masks,
        "bbox": np.stack([left, top, right - left, bottom - top], axis=1),
        "area": ours.masks.sum(axis=(1, 2)),
        "predicted_iou": ours.predicted_iou,
        "stability_score": ours.stability,
        "point_coords": ours.points[:, None],
    }
    for name, values in expected.items():
        np.testing.assert_array_equal(values, [record[name] for record in theirs], err_msg=name)
    assert (np.diff(ours.predicted_iou) <= 0).all()


def test_the_defaults_are_the_generators(sam: Sam) -> None:
    theirs = SamAutomaticMaskGenerator(sam.model)
    ours = asdict(ProposalSettings())
    assert len(theirs.point_grids[0]) == ours.pop("points_per_side") ** 2
    assert ours == {name: getattr(theirs, name) for name in ours}


def test_a_thread_keeps_a_pixel_of_its_short_side(sam: Sam) -> None:
    rng = np.random.default_rng(0)
    thread = rng.integers(0, 256, (1, 20 * sam.image_size, 3), dtype=np.uint8)
    for image in (thread, np.ascontiguousarray(thread.transpose(1, 0, 2))):
        encoded = sam.encode(image)
        assert sorted(encoded.input_size) == [1, sam.image_size]
        found = sam.predict(encoded, points=[(0, 0)], labels=[1])
        assert found.masks.shape == (3, *image.shape[:2])


@pytest.mark.parametrize("input_size", [(64, 64), (64, 48)])
def test_an_image_of_the_models_own_size_is_not_resized_back(
    sam: Sam, input_size: tuple[int, int]
) -> None:
    low_res = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    side = sam.image_size
    size = (side * input_size[0] // 64, side * input_size[1] // 64)
    encoded = EncodedImage(torch.zeros(1), size, size)
    theirs = sam.model.postprocess_masks(low_res, size, size)
    assert torch.equal(sam.upscale(low_res, encoded), theirs)


def test_masks_are_the_same_whether_or_not_doubles_could_be_dropped(
    sam: Sam, image: np.ndarray
) -> None:
    encoded = sam.encode(image)
    found = propose(sam, encoded, ProposalSettings(3, 4, -1.0, 0.0, 1.0, 1.0))
    fewer = propose(sam, encoded, ProposalSettings(3, 4, -1.0, 0.0, 1.0, 0.5))
    assert 0 < len(fewer) < len(found)
    all_masks = {
        (iou, mask.tobytes()) for iou, mask in zip(found.predicted_iou, found.masks, strict=True)
    }
    some = {
        (iou, mask.tobytes()) for iou, mask in zip(fewer.predicted_iou, fewer.masks, strict=True)
    }
    assert some <= all_masks


def test_nothing_good_enough_is_no_proposals(sam: Sam, image: np.ndarray) -> None:
    none = propose(sam, sam.encode(image), ProposalSettings(4, pred_iou_thresh=1e9))
    assert len(none) == 0
    assert none.masks.shape == (0, 70, 100)
    assert none.boxes.shape == (0, 4)


def test_frozen_and_the_decoder_stays_exact(image: np.ndarray) -> None:
    sam = Sam(tiny_model(), RECORDS, Runtime(precision="bf16"))
    assert not sam.model.training
    assert not any(p.requires_grad for p in sam.model.parameters())
    assert {p.dtype for p in sam.model.image_encoder.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in sam.model.mask_decoder.parameters()} == {torch.float32}
    encoded = sam.encode(image)
    assert encoded.features.dtype == torch.float32
    exact = Sam(tiny_model(), RECORDS, Runtime()).encode(image)
    torch.testing.assert_close(encoded.features, exact.features, atol=0.1, rtol=0.1)


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_official_sizes(name: str) -> None:
    with torch.device("meta"):
        ours, theirs = build_sam(OFFICIAL[name]), sam_model_registry[name]()
    shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in (ours, theirs)]
    assert shapes[0] == shapes[1]
    for ours_block, theirs_block in zip(
        ours.image_encoder.blocks, theirs.image_encoder.blocks, strict=True
    ):
        assert ours_block.window_size == theirs_block.window_size
        assert ours_block.attn.num_heads == theirs_block.attn.num_heads


@pytest.fixture
def located(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Let every name be found at a path."""

    def at(path: Path) -> None:
        found = type("Located", (), {"path": path, "records": RECORDS})
        monkeypatch.setattr(module, "locate", lambda role, name, runtime: found)

    return at


def test_a_folder_tells_its_own_sizes(
    tmp_path: Path, located: Callable[[Path], None], sam: Sam, image: np.ndarray
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(asdict(TINY)))
    save_file(sam.model.state_dict(), tmp_path / "model.safetensors")
    located(tmp_path)
    loaded = load_sam("any", Runtime())
    assert loaded.checkpoints == RECORDS
    assert loaded.image_size == 64
    assert torch.equal(loaded.encode(image).features, sam.encode(image).features)


def test_an_official_file_tells_its_architecture_by_its_name(
    tmp_path: Path, located: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch,
    sam: Sam, image: np.ndarray,
) -> None:  # fmt: skip
    monkeypatch.setitem(OFFICIAL, "vit_b", TINY)
    path = tmp_path / "sam_vit_b_01ec64.pth"
    torch.save(sam.model.state_dict(), path)
    located(path)
    loaded = load_sam("sam_vit_b", Runtime())
    assert torch.equal(loaded.encode(image).features, sam.encode(image).features)


def test_files_that_are_no_weights_are_one_line(
    tmp_path: Path, located: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(OFFICIAL, "vit_b", TINY)
    cut = tmp_path / "sam_vit_b_01ec64.pth"
    cut.write_bytes(b"PK\x03\x04 cut off")
    located(cut)
    with pytest.raises(UsageError, match=r"sam_vit_b_01ec64\.pth: .*delete the file") as caught:
        load_sam("sam_vit_b", Runtime())
    assert "\n" not in str(caught.value)
    torch.save({"some": torch.zeros(1)}, cut)
    with pytest.raises(UsageError, match="no weights of SAM's vit_b"):
        load_sam("sam_vit_b", Runtime())
    located(tmp_path / "mobile_sam.pt")
    with pytest.raises(UsageError, match=r"mobile_sam.*sam_vit_b"):
        load_sam("mobile_sam", Runtime())


@pytest.mark.slow
def test_the_largest_size_runs() -> None:
    """Random weights, at the input size of 1024 pixels; methods are tested on the smallest."""
    torch.manual_seed(0)
    sam = Sam(build_sam(OFFICIAL["vit_h"]), RECORDS, Runtime())
    image = np.random.default_rng(0).integers(0, 256, (375, 500, 3), dtype=np.uint8)
    encoded = sam.encode(image)
    assert encoded.features.shape == (1, 256, 64, 64)
    assert encoded.input_size == (768, 1024)
    answer = sam.predict(encoded, points=[(250, 180)], labels=[1])
    assert answer.masks.shape == (3, 375, 500)
    assert answer.low_res.shape == (3, 256, 256)
