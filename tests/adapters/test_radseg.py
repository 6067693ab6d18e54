"""RADSeg by the steps written out, on a tiny RADIO, the miniature CLIP's texts and a tiny SAM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_radio import WIDTH, tiny_radio, write
from torch.nn import functional

from ovbench.adapters import radseg as adapter
from ovbench.adapters.radseg import RADSeg, RADSegSettings
from ovbench.datasets import load_dataset
from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.contract.vocabulary import ClassQuery, Vocabulary
from ovbench.harness.registry.methods import load_method
from ovbench.harness.run.conformance import conformance_checks
from ovbench.models.clip.model import load_clip
from ovbench.models.radio.file import read_radio
from ovbench.models.radio.model import TEACHERS, TEXT, Radio
from ovbench.models.radio.self_correlation import (
    self_correlating_aggregation,
    self_correlating_attention,
)
from ovbench.models.sam.model import Sam, SamConfig, build_sam

TOY = Runtime(checkpoints="toy")
VOCABULARY = Vocabulary((ClassQuery("disk", ("circle",)), ClassQuery("star"), ClassQuery("grass")))
SMALL: dict[str, Any] = {
    "short_side": 64, "window": 48, "window_stride": 32, "prompts": "single",
    "denoising_threshold": 0.0,
}  # fmt: skip
IMAGE = load_dataset("toyworld").load(1).image[:80]
JOINT = load_clip("ViT-B-16", "openai", TOY).encode_text(["a"]).shape[1]
CHANNELS = 20


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the method loads, tiny; RADIO by way of its authors' file."""
    file = write(tmp_path / "tiny.pth.tar", tiny_radio(JOINT, CHANNELS))
    record = (CheckpointRecord("radio", "tiny", None, None),)

    def radio(*_: Any) -> Radio:
        return Radio(read_radio(file, TEACHERS), record, Runtime())

    def sam(*_: Any) -> Sam:
        config = SamConfig(CHANNELS, 1, 2, (0,), image_size=128, prompt_embed_dim=16,
                           mask_in_chans=4, decoder_num_heads=2, decoder_mlp_dim=16,
                           iou_head_hidden_dim=8)  # fmt: skip
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return Sam(build_sam(config), record, Runtime())

    monkeypatch.setattr(adapter, "load_clip", lambda *_: load_clip("ViT-B-16", "openai", TOY))
    monkeypatch.setattr(adapter, "load_radio", radio)
    monkeypatch.setattr(adapter, "load_sam", sam)


def built(vocabulary: Vocabulary = VOCABULARY, **settings: Any) -> RADSeg:
    method = RADSeg(RADSegSettings(**{**SMALL, **settings}), Runtime())
    method.prepare(vocabulary)
    return method


@pytest.mark.usefixtures("tiny")
@torch.inference_mode()
def test_labels_are_those_of_the_steps_written_out() -> None:
    method = built()
    radio = method.radio
    pixels = method._input(IMAGE)
    assert tuple(pixels.shape) == (3, 64, 77)  # of 80 x 96
    # 77 columns become 96, and 64 * 96 // 77 = 79 rows become 96 as well.
    large = functional.interpolate(pixels[None], (96, 96), mode="bilinear")
    total, count = torch.zeros(WIDTH, 6, 6), torch.zeros(6, 6)
    for top in (0, 32, 48):
        for left in (0, 32, 48):
            window = large[:, :, top : top + 48, left : left + 48]
            found = radio.features(window, self_correlating_attention)[0]
            assert not torch.allclose(found, radio.features(window)[0], atol=1e-3)
            rows, columns = (slice(start // 16, start // 16 + 3) for start in (top, left))
            total[:, rows, columns] += found
            count[rows, columns] += 1
    whole = self_correlating_aggregation((total / count)[None])
    mapped = functional.normalize(radio.mapped(whole, TEXT)[0], dim=0)
    maps = (100 * torch.einsum("qd,dhw->qhw", method.text, mapped)).softmax(dim=0)
    full = functional.interpolate(maps[None], IMAGE.shape[:2], mode="bilinear")[0]
    expected = np.array([0, 0, 1, 2])[full.argmax(dim=0).numpy()]
    (answer,) = method.segment([IMAGE])
    assert len(np.unique(expected)) > 1
    assert (answer == expected).mean() > 0.999


@pytest.mark.usefixtures("tiny")
def test_each_half_of_the_method_can_be_left_out() -> None:
    method, pixels = built(), built()._input(IMAGE)
    with torch.inference_mode():
        both = method._features(pixels)
        for name in ("attention_scale", "aggregation_scale"):
            alone = built(**{name: 0.0})._features(pixels)
            assert alone.shape == both.shape
            assert not torch.allclose(alone, both, atol=1e-3)


@pytest.mark.usefixtures("tiny")
def test_queries_that_no_pixel_is_sure_of_are_left_out() -> None:
    method = built(logit_scale=1.0)  # nobody is sure
    (everything,) = method.segment([IMAGE])
    assert len(np.unique(everything)) > 1
    (nothing,) = built(logit_scale=1.0, denoising_threshold=0.5).segment([IMAGE])
    assert (nothing == 0).all()  # as released: the first of equals
    maps = torch.tensor([[[0.6, 0.1]], [[0.4, 0.45]], [[0.0, 0.45]]])
    scores = adapter.Scores.enlarged(maps, (2, 4))
    kept = built(denoising_threshold=0.5)._denoised(scores).whole()
    assert (kept[1:] == 0).all()
    assert torch.equal(kept[0], scores.whole()[0])


@pytest.mark.usefixtures("tiny")
def test_sams_neck_reads_radios_features_of_the_whole_picture() -> None:
    method = built(sam_refinement=True, region_area=1)
    pixels = torch.randn(3, 40, 90, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        encoded = method._for_sam(pixels, (50, 113))
    # 40 * 8 // 90 = 3 rows of patches, and 8 columns.
    assert (encoded.size, encoded.input_size) == ((50, 113), (48, 128))
    assert encoded.features.shape == (1, 16, 8, 8)
    zeros = method._sam.necked(torch.zeros(1, CHANNELS, 8, 8))
    torch.testing.assert_close(encoded.features[..., 6:, 3:6], zeros[..., 6:, 3:6])


@pytest.mark.usefixtures("tiny")
def test_refinement_redraws_and_stays_within_the_candidates() -> None:
    settings: dict[str, Any] = {"region_area": 1, "predicted_iou": 0.0, "coarse_threshold": 0.01}
    (coarse,) = built(**settings).segment([IMAGE])
    method = built(sam_refinement=True, **settings)
    (fine,) = method.segment([IMAGE])
    assert set(np.unique(fine)) <= set(np.unique(coarse))
    (one,) = method.segment([IMAGE], [[1]])
    assert (one == 1).all()
    assert [record.name for record in method.checkpoints].count("tiny") == 2


@pytest.mark.usefixtures("tiny")
def test_contract() -> None:
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(3)]
    outcomes = conformance_checks(
        lambda: load_method("radseg", settings=SMALL, device="cpu"),
        (VOCABULARY, Vocabulary.of("sea", "sky", background=True)),
        images,
    )
    assert [(o.name, o.finding) for o in outcomes if not o.passed] == []


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"window": 40}, "window=40 must be a multiple of RADIO's patches of 16 pixels"),
        ({"window_stride": 24}, "window_stride=24 must be a multiple"),
    ],
)
def test_windows_are_whole_patches(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        built(**settings)


@pytest.mark.usefixtures("tiny")
def test_texts_of_another_tower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "other.pth.tar", tiny_radio(JOINT + 1))
    other = Radio(read_radio(file, TEACHERS), (), Runtime())
    monkeypatch.setattr(adapter, "load_radio", lambda *_: other)
    with pytest.raises(UsageError, match=f"{JOINT} numbers, and the head of c_radio_v3_b has"):
        built()
    with pytest.raises(ValueError, match="window must be 0 or at least window_stride"):
        RADSegSettings(window=16)
