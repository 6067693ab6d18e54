"""The miniature SAM's training: what it is asked, what it loses, what it writes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from ovbench.harness.contract.runtime import Runtime
from ovbench.models.sam.model import Sam, SamConfig, model_from_folder
from ovbench.models.sam.promptable import MaskPrediction
from ovbench.models.sam.proposals import Proposals, ProposalSettings
from ovbench.toyworld.quality import proposals as quality
from ovbench.toyworld.scene import Scene, render_scene
from ovbench.toyworld.train.__main__ import main
from ovbench.toyworld.train.roles import sam
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.teaching import prompts
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.train.teaching.mask_losses import grouping_loss, mask_loss, shrink
from ovbench.toyworld.world import NAMES, SIZE

WEIGHTS = "model.safetensors"
TINY = SamConfig(
    encoder_embed_dim=16,
    encoder_depth=2,
    encoder_num_heads=2,
    encoder_global_attn_indexes=(1,),
    encoder_window_size=4,
    image_size=SIZE,
    patch_size=8,
    prompt_embed_dim=16,
    decoder_num_heads=2,
    decoder_mlp_dim=16,
    iou_head_hidden_dim=8,
)


class KilledError(Exception):
    """Stands for whatever ends a process."""


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small model, batches of a few scenes, quick figures."""
    small = {"scenes": 12, "scene_batch": 2, "scene_prompts": 3, "second_pass": 0.5}
    monkeypatch.setattr(sam, "RECIPE", sam.RECIPE | small)
    monkeypatch.setattr(sam, "MODEL", TINY)
    monkeypatch.setattr(sam, "EVALUATED", 1)
    monkeypatch.setattr(quality, "SETTINGS", ProposalSettings(3))


@pytest.mark.usefixtures("tiny")
def test_a_killed_run_ends_like_one_that_was_not(tmp_path: Path) -> None:
    whole = Options(tmp_path / "whole", steps=4, save_every=1)
    sam.train(whole)
    broken = Options(tmp_path / "broken", steps=4, save_every=1)
    lesson = sam.Lesson.loss

    def loss(self: sam.Lesson, step: int) -> torch.Tensor:
        if step == 2:
            raise KilledError
        return lesson(self, step)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KilledError):  # noqa: PT012
        patch.setattr(sam.Lesson, "loss", loss)
        sam.train(broken)
    assert torch.load(broken.output / "training-1.pt", weights_only=True)["step"] == 2
    sam.train(broken)
    assert (broken.output / WEIGHTS).read_bytes() == (whole.output / WEIGHTS).read_bytes()
    assert not list(broken.output.glob("*.pt"))


@pytest.mark.usefixtures("tiny")
def test_the_command_writes_what_the_wrapper_loads(tmp_path: Path) -> None:
    assert main(["sam", "--steps", "2", "--output", str(tmp_path)]) == 0
    model = Sam(model_from_folder(tmp_path), (), Runtime())
    answer = model.predict(model.encode(render_scene(0).image), points=[(9, 9)], labels=[1])
    assert answer.masks.shape == (3, SIZE, SIZE)
    card = json.loads((tmp_path / "card.json").read_text())
    digest = hashlib.sha256((tmp_path / WEIGHTS).read_bytes()).hexdigest()
    assert card["weights"][0]["sha256"] == digest
    assert card["steps"] == 2


@pytest.mark.usefixtures("tiny")
def test_several_images_are_decoded_as_one_at_a_time() -> None:
    model = sam.build_sam(TINY).eval()
    lesson = sam.Lesson(model, SceneBank(2), Options(Path(), 1))
    images, labels = lesson.bank.take(np.arange(2))
    rng = np.random.default_rng(0)
    masks = prompts.draw_objects(labels, 3, rng)
    asked = prompts.Prompts(*prompts._points(masks, 2, 1, rng))
    features = lesson._encode(images)
    together = lesson._decode(features, asked)
    for image in (0, 1):
        mine = slice(3 * image, 3 * image + 3)
        sparse, dense = model.prompt_encoder(
            points=(asked.points[mine], asked.labels[mine]), boxes=None, masks=None
        )
        alone = model.mask_decoder.predict_masks(
            image_embeddings=features[3 * image][None],
            image_pe=model.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
        )
        for some, whole in zip(alone, together, strict=True):
            torch.testing.assert_close(whole[mine], some, atol=1e-5, rtol=1e-4)


def test_alike_places_attend_to_each_other_from_the_start() -> None:
    model = sam.build_sam(TINY)
    sam.match_alike(model)
    query, key, value = model.image_encoder.blocks[0].attn.qkv.weight.chunk(3)
    assert torch.equal(query, key)
    assert not torch.equal(query, value)
    attention = model.mask_decoder.transformer.layers[0].cross_attn_token_to_image
    assert torch.equal(attention.q_proj.weight, attention.k_proj.weight)


def test_sharper_masks_are_the_same_masks() -> None:
    model = sam.build_sam(TINY)
    wrapper = Sam(model, (), Runtime())
    image = render_scene(0).image
    before = wrapper.predict(wrapper.encode(image), points=[(9, 9)], labels=[1])
    again = wrapper.predict(wrapper.encode(image), mask_input=before.low_res[0])
    sam.sharpen(model, 4.0)
    after = wrapper.predict(wrapper.encode(image), points=[(9, 9)], labels=[1])
    np.testing.assert_allclose(after.low_res, 4 * before.low_res, rtol=1e-5)
    np.testing.assert_array_equal(after.iou, before.iou)
    np.testing.assert_array_equal(after.masks, before.masks)
    sharper = wrapper.predict(wrapper.encode(image), mask_input=after.low_res[0])
    np.testing.assert_allclose(sharper.low_res, 4 * again.low_res, rtol=1e-4, atol=1e-5)


def ground_with(*pieces: tuple[slice, slice]) -> np.ndarray:
    """Grass, with stars in the given windows."""
    label = np.full((SIZE, SIZE), NAMES.index("grass"), np.uint8)
    for rows, columns in pieces:
        label[rows, columns] = NAMES.index("star")
    return label


def test_objects_are_pieces_of_things_and_whole_grounds() -> None:
    corner, beside, far = slice(0, 10), slice(10, 20), slice(50, 57)
    label = ground_with((corner, corner), (beside, beside), (slice(80, 83), far))
    label[:, 90:] = NAMES.index("sky")
    label[40:60, :] = NAMES.index("sky")  # cuts the grass in two
    found = quality.objects(label)
    assert [thing for _, thing in found] == [True, True, False, False]
    first, second = (mask for mask, thing in found if thing)  # they touch at a corner only
    assert {first[5, 5], second[5, 5]} == {True, False}
    assert first.sum() == second.sum() == 100
    grass = next(mask for mask, thing in found if not thing)
    assert grass[30, 50]
    assert grass[70, 50]


def test_components_are_those_of_a_flood_fill() -> None:
    labels = np.random.default_rng(0).integers(0, 2, (2, 15, 20), dtype=np.uint8)
    ids = quality.components(labels)
    seen = set()
    for start in np.ndindex(labels.shape):
        if start in seen:
            continue
        piece, border = {start}, [start]
        while border:
            n, y, x = border.pop()
            for place in ((n, y + 1, x), (n, y - 1, x), (n, y, x + 1), (n, y, x - 1)):
                inside = 0 <= place[1] < 15 and 0 <= place[2] < 20
                if inside and place not in piece and labels[place] == labels[start]:
                    piece.add(place)
                    border.append(place)
        assert {tuple(p) for p in np.argwhere(ids == ids[start]).tolist()} == piece
        seen |= piece


def test_the_deepest_point_and_the_box() -> None:
    mask = np.zeros((SIZE, SIZE), bool)
    mask[10:31, 5:46] = True
    mask[20, 46:90] = True
    x, y = quality.deepest_point(mask)
    assert y == 20
    assert 15 <= x <= 36
    assert quality.box_of(mask) == (5, 10, 89, 30)
    assert prompts.boxes_of(mask[None]).tolist() == [[5, 10, 89, 30]]


def test_pixels_are_drawn_from_their_mask_and_differ() -> None:
    masks = np.zeros((2, 8, 9), bool)
    masks[0, 2, 3:6] = masks[1, 5:8, 0] = True
    points = prompts.draw_pixels(masks, 3, np.random.default_rng(0))
    assert sorted(points[0].tolist()) == [[3, 2], [4, 2], [5, 2]]
    assert sorted(points[1].tolist()) == [[0, 5], [0, 6], [0, 7]]
    assert prompts.draw_pixels(masks, 0, np.random.default_rng(0)).shape == (2, 0, 2)


def test_first_prompts_are_of_every_kind() -> None:
    masks = np.stack([mask for mask, _ in quality.objects(render_scene(0).label)])
    kinds = set()
    for seed in range(40):
        asked = prompts.first_prompts(masks, np.random.default_rng(seed))
        if asked.boxes is not None:
            kinds.add("box")
            continue
        assert asked.points is not None
        assert asked.labels is not None
        kinds.add(asked.points.shape[1])
        x, y = asked.points.long().unbind(-1)
        inside = masks[np.arange(len(masks))[:, None], y, x]
        assert (inside == asked.labels.numpy()).all()
    assert {"box", 1, 3, 7} <= kinds


def test_a_correcting_point_is_where_the_mask_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    always = {"second_single": 1.0, "second_point": 1.0, "second_box": 1.0}
    monkeypatch.setattr(prompts, "RECIPE", prompts.RECIPE | always)
    target = np.zeros((2, SIZE, SIZE), bool)
    target[:, 20:40, 20:40] = True
    logits = torch.full((2, 4, 48, 48), -1.0)
    logits[0, 0, 10:20, 10:15] = 1.0  # the left half: the right is missed
    logits[1, 0, 10:20, 10:30] = 1.0  # twice as wide: the right half is too much
    asked = prompts.second_prompts(
        prompts.Prompts(), logits, torch.zeros(2, 4), target, np.random.default_rng(0)
    )
    assert asked.labels is not None
    assert asked.labels.tolist() == [[1], [0]]
    assert asked.points is not None
    assert 29 <= asked.points[0, 0, 0] < 40 <= asked.points[1, 0, 0] <= 60
    assert asked.boxes is not None
    assert asked.boxes[1].tolist() == [20, 20, 59, 39]
    assert asked.masks is not None
    assert torch.equal(asked.masks[:, 0], logits[:, 0])


def test_only_the_best_of_three_masks_learns() -> None:
    truth = shrink(np.pad(np.ones((1, 32, 32), bool), ((0, 0), (0, 64), (0, 64))), (48, 48))
    assert truth.sum() == 16 * 16
    logits = (8 * truth - 4)[:, None].repeat(1, 4, 1, 1)
    logits[:, 2:] = -4.0
    logits.requires_grad_()
    claims = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    loss = mask_loss(logits, claims, truth)
    loss.backward()
    assert loss < 0.2
    assert logits.grad is not None
    assert logits.grad.abs().amax(dim=(0, 2, 3)).gt(0).tolist() == [True, True, False, False]
    assert (mask_loss(logits, 1 - claims, truth) - loss).item() == pytest.approx(1.0)


def test_grouping_wants_objects_apart() -> None:
    half = torch.zeros(1, 48, 48)
    half[:, :, :24] = 1.0
    apart = torch.zeros(1, 2, 12, 12)
    apart[:, 0, :, :6] = apart[:, 1, :, 6:] = 1.0
    assert grouping_loss(apart, half) < 0.1 < grouping_loss(torch.ones(1, 2, 12, 12), half)


@dataclass
class Oracle:
    """Knows the objects of the scene it was shown last; its claims are too modest."""

    scenes: dict[bytes, Scene]
    found: tuple[np.ndarray, ...] = ()

    def encode(self, image: np.ndarray) -> Oracle:
        self.found = tuple(m for m, _ in quality.objects(self.scenes[image.tobytes()].label))
        return self

    def predict(self, encoded, points=None, labels=None, box=None, multimask=True):  # type: ignore[no-untyped-def]
        if box is not None:
            best = [mask for mask in self.found if quality.box_of(mask) == box]
        else:
            best = [mask for mask in self.found if mask[points[0][1], points[0][0]]]
        masks = np.stack([best[0], ~best[0]])
        return MaskPrediction(masks, np.array([0.8, 0.1], np.float32), masks.astype(np.float32))


def test_an_oracle_is_measured_as_perfect(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = [render_scene(seed) for seed in range(3)]
    oracle = Oracle({scene.image.tobytes(): scene for scene in scenes})

    def propose(model: Oracle, encoded: Oracle, settings: ProposalSettings) -> Proposals:
        masks, none = np.stack(encoded.found), np.zeros(0)
        return Proposals(masks, none, none, none, none)

    monkeypatch.setattr(quality, "propose", propose)
    figures = quality.measure(oracle, scenes)  # type: ignore[arg-type]
    assert {v for k, v in figures.items() if "_iou_" in k and "predicted" not in k} == {1.0}
    assert figures["best_proposal_iou"] == 1.0
    assert figures["predicted_iou_bias"] == pytest.approx(-0.2, abs=1e-4)
    assert figures["predicted_iou_error"] == pytest.approx(0.2, abs=1e-4)
