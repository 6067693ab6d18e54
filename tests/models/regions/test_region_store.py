"""Generators of masks by name, and that masks are made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from scipy import ndimage

from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.progress import watching
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.contract.settings import override
from ovbench.harness.contract.stages import measure
from ovbench.harness.files.features import (
    KEEP_REGIONS,
    MAKE,
    REGIONS,
    nothing_kept,
    regions_note,
)
from ovbench.models.patches.encoder import load_patch_encoder
from ovbench.models.regions.cuts import Cuts, PanopticCuts
from ovbench.models.regions.generator import ReadyGenerator
from ovbench.models.regions.maps import MaskArray, ScoreArray
from ovbench.models.regions.sam_grids import Sam2Grid, SamGrid
from ovbench.models.regions.segments import Panoptic, Superpixels
from ovbench.models.regions.store import Regions
from ovbench.models.sam.model import load_sam
from ovbench.models.sam.proposals import ProposalSettings, propose
from ovbench.refine.normalized_cut import panoptic_cuts
from ovbench.toyworld.scene import render_scene

TOY = Runtime(checkpoints="toy")
IMAGES = [render_scene(seed).image for seed in (1, 2)]


@dataclass(frozen=True)
class Halves:
    """Left and right; counts how often it is asked, or stops at an image."""

    share: float = 0.5
    weights: str = "a"

    def load(self, runtime: Runtime) -> ReadyGenerator:
        def masks(image: Image) -> tuple[MaskArray, ScoreArray]:
            if ASKED and ASKED[-1] == "stop":
                raise KeyboardInterrupt
            ASKED.append(image.tobytes()[:4])
            found = np.zeros((2, *image.shape[:2]), bool)
            middle = int(self.share * image.shape[1])
            found[0, :, :middle] = found[1, :, middle:] = True
            return found, np.array([0.2, 0.8], np.float32)

        digest = self.weights * 64
        return ReadyGenerator(masks, (CheckpointRecord("halves", "h", None, digest),), "1")


ASKED: list[object] = []


@pytest.fixture(autouse=True)
def asked() -> list[object]:
    ASKED.clear()
    return ASKED


def test_masks_are_made_once_by_their_key(cache: Path) -> None:
    first = Regions(Halves(), TOY).masks(IMAGES)
    again = Regions(Halves(), TOY).masks(IMAGES[::-1])[::-1]
    assert len(ASKED) == 2
    for one, other in zip(first, again, strict=True):
        assert (one.masks == other.masks).all()
        assert other.masks.dtype == bool
        assert (one.scores == other.scores).all()
    assert first[0].masks[0, :, : IMAGES[0].shape[1] // 2].all()
    for other in (Halves(share=0.25), Halves(weights="b")):
        Regions(other, TOY).masks(IMAGES[:1])
    changed = IMAGES[0].copy()
    changed[0, 0, 0] ^= 1
    Regions(Halves(), TOY).masks([changed])
    assert len(ASKED) == 5
    assert len(list((cache / "regions").glob("*.npz"))) == 5


def test_progress_is_shown_where_it_is_asked_for(cache: Path) -> None:
    """A run would have a line or a bar for every batch."""
    seen: list[str] = []

    class Watching:
        @contextmanager
        def watch(self, title: str, total: float | None) -> Iterator[Callable[[float], None]]:
            seen.append(f"{title} {total}")
            yield lambda done: seen.append(f"{done}")

        def says(self, line: str) -> None:
            raise AssertionError(line)

    with watching(Watching()):
        Regions(Halves(), TOY).masks(IMAGES)
        Regions(Halves(share=0.25), TOY).masks(IMAGES, watched=True)
        Regions(Halves(share=0.25), TOY).masks(IMAGES, watched=True)
    assert seen == ["regions 2", "1", "1"]


def test_who_is_stopped_loses_no_finished_image(cache: Path) -> None:
    Regions(Halves(), TOY).masks(IMAGES[:1])
    ASKED.append("stop")
    with pytest.raises(KeyboardInterrupt):
        Regions(Halves(), TOY).masks(IMAGES)
    ASKED.clear()
    Regions(Halves(), TOY).masks(IMAGES)
    assert len(ASKED) == 1


def test_sams_grid_is_its_proposals(cache: Path) -> None:
    generator = override(SamGrid, {"points_per_side": 3, "predicted_iou": 0.5, "stability": 0.5})
    (found,) = Regions(generator, TOY).masks(IMAGES[:1])
    sam = load_sam("sam_vit_h", TOY)
    settings = ProposalSettings(3, pred_iou_thresh=0.5, stability_score_thresh=0.5)
    wanted = propose(sam, sam.encode(IMAGES[0]), settings)
    assert len(wanted) > 0
    assert (found.masks == wanted.masks).all()
    assert (found.scores == wanted.predicted_iou).all()


def test_sam2s_grid_is_that_of_transformers(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All masks: they differ too little, with random weights, for boxes to be told apart."""
    from PIL import Image as Pillow
    from tiny_sam2 import SIDE, sam2_model
    from transformers import MaskGenerationPipeline, Sam2ImageProcessor

    from ovbench.models.sam import loading
    from ovbench.models.weights.checkpoints import Located

    model = sam2_model()
    model.save_pretrained(tmp_path)
    record = CheckpointRecord("sam", "tiny", None, "0" * 64)
    monkeypatch.setattr(loading, "locate", lambda *_: Located(tmp_path, (record,)))
    square = np.ascontiguousarray(IMAGES[0][:SIDE, :SIDE])
    thresholds = {"predicted_iou": 0.4, "stability": 0.3, "box_overlap": 1.0}
    settings = override(Sam2Grid, {"points_per_side": 4, **thresholds})
    (found,) = Regions(settings, Runtime()).masks([square])

    processor = Sam2ImageProcessor(size={"height": SIDE, "width": SIDE})
    wanted = MaskGenerationPipeline(model=model, image_processor=processor)(
        Pillow.fromarray(square), points_per_crop=4, points_per_batch=5, pred_iou_thresh=0.4,
        stability_score_thresh=0.3, crops_nms_thresh=1.0,
    )  # fmt: skip
    assert len(found.masks) == len(wanted["masks"]) > 16
    np.testing.assert_allclose(found.scores, wanted["scores"], atol=1e-5)
    assert (found.masks == np.stack(wanted["masks"])).mean() >= 0.995

    (single,) = Regions(replace(settings, multimask=False), Runtime()).masks([square])
    assert 0 < len(single.masks) <= 16


def test_sam2s_thresholds_are_its_generators() -> None:
    """``SAM2AutomaticMaskGenerator`` of facebookresearch/sam2."""
    ours = Sam2Grid()
    assert ours.weights == "sam2.1_hiera_large"
    assert (ours.points_per_side, ours.predicted_iou) == (32, 0.8)
    assert (ours.stability, ours.box_overlap, ours.multimask) == (0.95, 0.7, True)


def test_superpixels_cover_the_image(cache: Path) -> None:
    segmentation = pytest.importorskip("skimage.segmentation")
    (found,) = Regions(Superpixels(count=40), TOY).masks(IMAGES[:1])
    assert (found.masks.sum(axis=0) == 1).all()
    wanted = segmentation.slic(IMAGES[0], n_segments=40, compactness=10.0)
    numbers = np.unique(wanted)
    assert len(found.masks) == len(numbers) > 4
    assert (numbers[found.masks.argmax(axis=0)] == wanted).all()


def test_cuts_are_disjoint(cache: Path) -> None:
    (found,) = Regions(Cuts(side=96), TOY).masks(IMAGES[:1])
    assert 1 <= len(found.masks) <= 3
    assert found.masks.any(axis=(1, 2)).all()
    assert found.masks.sum(axis=0).max() == 1
    (nothing,) = Regions(Cuts(side=96), TOY).masks([np.full((30, 40, 3), 128, np.uint8)])
    assert nothing.masks.shape[1:] == (30, 40)


def test_panoptic_cuts_are_sharpened_as_released(cache: Path) -> None:
    densecrf = pytest.importorskip("pydensecrf.densecrf")
    image = IMAGES[0][:80]
    (found,) = Regions(PanopticCuts(side=96), TOY).masks([image])
    encoder = load_patch_encoder("dino", "dino_vitb8", TOY)
    square = Picture.fromarray(image).resize((96, 96), Picture.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.array(square)).permute(2, 0, 1) / 255.0
    mean, std = (torch.tensor(v)[:, None, None] for v in (encoder.mean, encoder.std))
    keys = encoder.features(((pixels - mean) / std)[None], facet="key")[0]
    wanted = []
    for cut in panoptic_cuts(keys.permute(1, 2, 0).numpy()):
        coarse = np.kron(cut, np.ones((8, 8), bool))
        inside = np.where(coarse, 1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1)))
        model = densecrf.DenseCRF2D(96, 96, 2)
        unary = -np.log(np.stack([1 - inside, inside])).reshape(2, -1).astype(np.float32)
        model.setUnaryEnergy(np.ascontiguousarray(unary))
        model.addPairwiseGaussian(sxy=3, compat=7)
        model.addPairwiseBilateral(sxy=50, srgb=5, rgbim=np.array(square), compat=10)
        labels = np.array(model.inference(10)).argmax(axis=0).reshape(96, 96)
        mask = ndimage.binary_fill_holes(labels)
        if (mask & coarse).sum() / (mask | coarse).sum() < 0.5:
            continue
        small = Picture.fromarray(mask.astype(np.uint8) * 255).resize((96, 80))
        wanted.append(np.asarray(small) > np.asarray(small).max() / 2)
    assert len(found.masks) == len(wanted) >= 1
    assert (found.masks == np.array(wanted)).mean() > 0.999
    assert (np.diff(found.scores) < 0).all()


def test_nothing_is_cut_out_of_one_colour(cache: Path) -> None:
    (nothing,) = Regions(PanopticCuts(side=48), TOY).masks([np.full((30, 40, 3), 128, np.uint8)])
    assert nothing.masks.shape[1:] == (30, 40)


def sure(model: torch.nn.Module) -> Any:
    """One whose segments are never nothing."""
    model.class_predictor.weight.data *= 20  # type: ignore[union-attr,operator]
    model.class_predictor.bias.data[-1] = -100  # type: ignore[union-attr,index]
    return model


def eomt(folder: Path) -> None:
    from transformers import EomtConfig, EomtForUniversalSegmentation, EomtImageProcessor

    config = EomtConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32,
        image_size=64, patch_size=16, num_blocks=1, num_queries=7, num_labels=3,
        num_upscale_blocks=1, num_register_tokens=1,
    )  # fmt: skip
    torch.manual_seed(0)
    sure(EomtForUniversalSegmentation(config)).save_pretrained(folder)
    size = {"shortest_edge": 64, "longest_edge": 64}  # of the panoptic ones
    EomtImageProcessor(size=size, do_split_image=False, do_pad=True).save_pretrained(folder)


def mask2former(folder: Path) -> None:
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        Mask2FormerImageProcessor,
        SwinConfig,
    )

    swin = SwinConfig(
        embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=2, image_size=64,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = Mask2FormerConfig(
        backbone_config=swin, hidden_dim=32, mask_feature_size=32, feature_size=32,
        encoder_feedforward_dim=32, dim_feedforward=32, encoder_layers=1, decoder_layers=2,
        num_attention_heads=2, num_queries=7, num_labels=3,
    )  # fmt: skip
    torch.manual_seed(0)
    sure(Mask2FormerForUniversalSegmentation(config)).save_pretrained(folder)
    size = {"height": 64, "width": 64}
    Mask2FormerImageProcessor(size=size).save_pretrained(folder)


@pytest.mark.parametrize("join", [False, True])
@pytest.mark.parametrize("build", [eomt, mask2former])
def test_panoptic_segments_are_transformers_own(
    build: Callable[[Path], None],
    join: bool,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from transformers import AutoImageProcessor, AutoModelForUniversalSegmentation

    from ovbench.models.regions import segments
    from ovbench.models.weights.checkpoints import Located

    folder = tmp_path / "model"
    build(folder)
    record = CheckpointRecord("panoptic", "tiny", None, "0" * 64)
    monkeypatch.setattr(segments, "locate", lambda *_: Located(folder, (record,)))
    monkeypatch.setattr(segments, "COCO_STUFF", [0, 1, 2])  # all that the tiny ones know
    settings = Panoptic(threshold=0.0, mask_threshold=0.3, kept_share=0.05, join_stuff=join)
    (found,) = Regions(settings, TOY).masks(IMAGES[:1])

    processor = AutoImageProcessor.from_pretrained(folder)
    model = AutoModelForUniversalSegmentation.from_pretrained(folder).eval()
    with torch.inference_mode():
        answer = model(**processor(images=IMAGES[0], return_tensors="pt"))
    option = "stuff_classes" if build is eomt else "label_ids_to_fuse"
    (wanted,) = processor.post_process_panoptic_segmentation(
        answer, threshold=0.0, mask_threshold=0.3, overlap_mask_area_threshold=0.05,
        target_sizes=[IMAGES[0].shape[:2]], **{option: [0, 1, 2] if join else []},
    )  # fmt: skip
    segments = wanted["segments_info"]
    assert len(found.masks) == len(segments) > 0
    for mask, score, segment in zip(found.masks, found.scores, segments, strict=True):
        assert (mask == (wanted["segmentation"] == segment["id"]).numpy()).all()
        assert score == pytest.approx(segment["score"])


def test_where_there_is_no_miniature_that_is_said() -> None:
    with pytest.raises(UsageError, match="panoptic"):
        Regions(Panoptic(), TOY)


def test_a_stage_tells_masks_that_were_made_from_those_that_were_read(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stages() -> dict[str, float]:
        with measure("cpu") as spent:
            Regions(Halves(), TOY).masks(IMAGES)
        return spent.stages_s

    first, second = stages(), stages()
    assert (set(first), set(second)) == ({REGIONS, f"{REGIONS}/{MAKE}"}, {REGIONS})
    assert regions_note([first, {"encode": 1.0}]) == []
    (note,) = regions_note([first, second])
    assert note.startswith("1 of 2 masks were read")
    assert "times leave that out" in note
    with nothing_kept():
        assert set(stages()) == set(first)
    assert set(stages()) == set(second)
    monkeypatch.setenv(KEEP_REGIONS, "no")
    with pytest.raises(UsageError, match=f"{KEEP_REGIONS}=no: must be 0 or 1"):
        stages()


def test_nothing_is_written_where_nothing_shall_be_kept(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEEP_REGIONS, "0")
    made = Regions(Halves(), TOY).masks(IMAGES)
    assert not (cache / "regions").exists()
    monkeypatch.delenv(KEEP_REGIONS)
    for one, two in zip(made, Regions(Halves(), TOY).masks(IMAGES), strict=True):
        assert (one.masks == two.masks).all()


def test_one_mask_a_point() -> None:
    every = {"points_per_side": 3, "predicted_iou": 0, "stability": 0, "box_overlap": 1}
    one, three = (
        Regions(override(Sam2Grid, {**every, "multimask": several}), TOY).masks(IMAGES[:1])[0]
        for several in (False, True)
    )
    assert (len(one.masks), len(three.masks)) == (9, 27)
    sam = load_sam("sam_vit_b", TOY)
    corner = np.array([IMAGES[0].shape[1::-1]]) / 6
    wanted = sam.predict(sam.encode(IMAGES[0]), points=corner, labels=[1], multimask=False)
    assert any((mask == wanted.masks[0]).all() for mask in one.masks)
