"""Talk2DINO: its map, its masks by the steps written out, and what does not go together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from ovbench.adapters import talk2dino as adapter
from ovbench.adapters.parts.templates import templates
from ovbench.adapters.parts.vfm import encoder_of
from ovbench.adapters.talk2dino import SCALE, Talk2DINO, Talk2DINOSettings, cleaned
from ovbench.datasets import load_dataset
from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Vocabulary
from ovbench.harness.registry.methods import load_method
from ovbench.harness.run.conformance import conformance_checks
from ovbench.models.clip.model import load_clip
from ovbench.models.clip.text_map import TextMap, TextMapNetwork, read_text_map
from ovbench.models.patches.encoder import Reading, load_patch_encoder

TOY = Runtime(checkpoints="toy")
VOCABULARY = Vocabulary((ClassQuery("disk", ("circle",)), ClassQuery("star")), Background())
SMALL: dict[str, Any] = {"short_side": 96, "window": 96, "window_stride": 48, "side": 96}
IMAGE = load_dataset("toyworld").load(1).image[:80]


def text_map(joint: int, width: int) -> TextMap:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TextMap(TextMapNetwork(joint, width), (), Runtime())


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The miniatures of both towers, and a map between them that was not trained."""
    monkeypatch.setattr(adapter, "load_clip", lambda *_: load_clip("ViT-B-16", "openai", TOY))
    monkeypatch.setattr(
        adapter, "encoder_of", lambda *_: load_patch_encoder("dinov2", "dinov2_base", TOY)
    )
    monkeypatch.setattr(
        adapter, "load_text_map", lambda name, joint, width, runtime: text_map(joint, width)
    )


def built(vocabulary: Vocabulary = VOCABULARY, **settings: Any) -> Talk2DINO:
    method = Talk2DINO(Talk2DINOSettings(**{**SMALL, **settings}), Runtime())
    method.prepare(vocabulary)
    return method


@pytest.mark.usefixtures("tiny")
def test_texts_are_averaged_as_they_are_and_then_mapped() -> None:
    method = built()
    clip = method._clip
    rows = []
    for query in ("disk", "circle", "star"):
        prompts = [one.format(query) for one in templates("subset7")]
        mean = clip.embed_queries(prompts, ["{}"], unit=False, length=True).mean(dim=0)
        assert mean.norm() != pytest.approx(1, abs=1e-3)
        rows.append(text_map(len(mean), method._encoder.width)(mean[None])[0])
    assert len(templates("subset7")) == 7
    torch.testing.assert_close(method.text, torch.stack(rows), atol=1e-5, rtol=0)


@pytest.mark.parametrize("cleaning", [0.0, 0.2])
@pytest.mark.usefixtures("tiny")
@torch.inference_mode()
def test_labels_are_those_of_the_steps_written_out(cleaning: float) -> None:
    method = built(cleaning=cleaning, window=0, side=96, background_score=0.5)
    encoder, (height, width) = method._encoder, IMAGE.shape[:2]
    pixels = method._input(IMAGE)[None]
    square = functional.interpolate(pixels, (96, 96), mode="bilinear", antialias=True)
    asked = (Reading(norm=True), Reading(facet="query"), Reading(facet="key"))
    patches, query, key = encoder.read(square, *asked)
    unit = functional.normalize(patches.patches[0], dim=0)
    masks = torch.einsum("kd,dhw->khw", method.text, unit).sigmoid()
    if cleaning:
        size = encoder.width // encoder.heads
        looks = []
        for head in range(encoder.heads):
            part = slice(head * size, (head + 1) * size)
            looks.append(
                torch.einsum("d,dhw->hw", query.class_token[0, part] * SCALE, key.patches[0, part])
            )
        seen = [(look * patches.patches[0]).mean(dim=(1, 2)) for look in looks]
        added = []
        for text in method.text:
            share = torch.stack([text @ functional.normalize(one, dim=0) for one in seen]).softmax(
                0
            )
            mixed = sum(s * look for s, look in zip(share, looks, strict=True))
            added.append(mixed.flatten().softmax(0).reshape(mixed.shape))  # type: ignore[union-attr]
        all_of = torch.stack(added)
        all_of = (all_of - all_of.min()) / all_of.max()
        all_of = all_of * (masks.max() - masks.min()) + masks.min()
        masks = (masks + cleaning * all_of) / (1 + cleaning)
    large = functional.interpolate(
        masks[None], pixels.shape[-2:], mode="bilinear", align_corners=True
    )
    full = functional.interpolate(large, (height, width), mode="bilinear")[0]
    expected = np.array([0, 1, 1, 2])[
        torch.cat([torch.full_like(full[:1], 0.5), full]).argmax(dim=0).numpy()
    ]
    (answer,) = method.segment([IMAGE])
    assert len(np.unique(expected)) > 1
    assert (answer == expected).mean() > 0.999


def test_each_window_is_cleaned_by_itself() -> None:
    random = torch.Generator().manual_seed(0)
    masks, looks = (torch.rand(2, n, 3, 4, generator=random) for n in (5, 2))
    features = torch.randn(2, 8, 3, 4, generator=random)
    texts = functional.normalize(torch.randn(5, 8, generator=random), dim=1)
    both = cleaned(masks, features, looks, texts, 0.2)
    for i in range(2):
        one = slice(i, i + 1)
        alone = cleaned(masks[one], features[one], looks[one], texts, 0.2)
        torch.testing.assert_close(both[one], alone)


@pytest.mark.usefixtures("tiny")
def test_contract() -> None:
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(3)]
    settings = {**SMALL, "cleaning": 0.2, "pamr_iterations": 1}
    outcomes = conformance_checks(
        lambda: load_method("talk2dino", settings=settings, device="cpu"),
        (VOCABULARY, Vocabulary.of("sea", "sky")),
        images,
    )
    assert [(o.name, o.finding) for o in outcomes if not o.passed] == []


def test_the_authors_file_is_read(tmp_path: Path) -> None:
    network = TextMapNetwork(6, 4)
    names = [f"{layer}.{kind}" for layer in ("linear_layer", "hidden_layers.0")
             for kind in ("weight", "bias")]  # fmt: skip
    assert sorted(network.state_dict()) == sorted(names)  # as in vitb_mlp_infonce.pth
    torch.save(network.state_dict(), tmp_path / "map.pth")
    found = read_text_map(tmp_path / "map.pth", 6, 4).state_dict()
    assert all(torch.equal(found[name], one) for name, one in network.state_dict().items())
    with pytest.raises(UsageError, match="maps 6 numbers to 4, and these towers have 6 and 8"):
        read_text_map(tmp_path / "map.pth", 6, 8)


@pytest.mark.usefixtures("tiny")
def test_what_does_not_go_together() -> None:
    with pytest.raises(UsageError, match="side=50 must be a multiple of 8"):
        built(side=50)


@pytest.mark.parametrize(
    ("name", "said"),
    [("sam_vit_b", "is no encoder of patches"), ("dinov9", "no vision foundation model 'dinov9'")],
)
def test_names_of_encoders(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        encoder_of(name, Runtime())
