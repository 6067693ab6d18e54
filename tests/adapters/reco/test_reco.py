"""ReCo on the miniatures, against its steps written out, and what it is told of classes."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from torch import Tensor
from torch.nn import functional

from ovbench.adapters.parts.templates import templates
from ovbench.adapters.reco import ReCo, references
from ovbench.adapters.reco.cosegment import context_weights, cosegmented
from ovbench.adapters.reco.settings import ReCoSettings
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.contract.settings import override
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.clip.model import load_clip
from ovbench.models.patches.encoder import load_patch_encoder
from ovbench.models.pixels.inputs import pillow_tensor
from ovbench.models.weights.checkpoints import Located
from ovbench.refine.dense_crf import DenseCRF
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.world import SPLITS, STUFF, THINGS

TOY = Runtime(checkpoints="toy")
QUICK: dict[str, Any] = {
    "pictures": 6, "picture_side": 64, "short_side": 96, "window": 96, "window_stride": 96,
    "prompts": "single", "crf_iterations": 0,
}  # fmt: skip


def scene(index: int = 0) -> Image:
    """Of 96 rows and 70 columns."""
    return render_scene(SPLITS["val"][index]).image[:, :70]


def build(**settings: Any) -> ReCo:
    return ReCo(override(ReCoSettings, {**QUICK, **settings}), TOY)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sixteen train scenes, of two shapes."""
    for number, seed in enumerate(SPLITS["train"][7_000_000:7_000_016]):
        image = render_scene(seed).image[: 96 - 16 * (number % 2)]
        Pillow.fromarray(image).save(tmp_path / f"{number:02d}.png")
    return tmp_path


def middle(file: Path, side: int, mode: str, mean: Any, std: Any) -> Tensor:
    """The square in a picture's middle, by torchvision, ``(1, 3, side, side)``."""
    from torchvision.transforms import v2

    how = v2.InterpolationMode(mode)
    steps = [v2.Resize(side, how), v2.CenterCrop(side), v2.PILToTensor(),
             v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)]  # fmt: skip
    return v2.Compose(steps)(Pillow.open(file))[None]


def written_out(files: list[Path], names: list[str], context: list[str]) -> Tensor:
    """Vectors of classes, every picture by itself."""
    clip, dino = load_clip("", "", TOY), load_patch_encoder("dino", "", TOY)
    text = clip.embed_queries(context + names, templates("single"))
    seen = torch.cat(
        [clip.encode_image(middle(f, clip.image_size, "bicubic", clip.mean, clip.std))
         for f in files]
    )  # fmt: skip
    known: dict[str, Tensor] = {}
    for query, name in zip(text, context + names, strict=True):
        if name in context and name in known:
            continue
        features, weights = [], []
        for number in (seen @ query).argsort(descending=True, stable=True)[: QUICK["pictures"]]:
            square = middle(files[int(number)], 64, "bilinear", dino.mean, dino.std)
            features.append(dino.features(square, norm=True))
            dense = clip.dense_features(square, residual=False).values[0]
            cosine = torch.einsum("d,dhw->hw", query, functional.normalize(dense, dim=0))
            named = torch.sigmoid(10 * cosine)[None, None]
            weights.append(functional.interpolate(named, (8, 8), mode="bilinear")[0])
        places = torch.cat(features)
        before = [known[c] for c in context if c in known]
        named = torch.cat(weights) * context_weights(places, before)
        known[name] = cosegmented(places, named, "released").vector
    return torch.stack([known[name] for name in names])


def test_vectors_are_those_of_the_steps_written_out(folder: Path) -> None:
    names, context = ["circle", "sky", "heart"], ["sky", "grass"]
    method = build(references=f"{folder}/", context=",".join(context))
    method.prepare(Vocabulary.of(*names))
    expected = written_out(sorted(folder.glob("*.png")), names, context)
    torch.testing.assert_close(method._looks, expected, atol=1e-5, rtol=1e-4)


def test_a_pixel_has_the_label_of_the_steps_written_out() -> None:
    image, names = scene(), [*THINGS[:4], *STUFF]
    method = build(background_score=0.4)
    method.prepare(Vocabulary.of(*names, background=True))
    clip, dino = load_clip("", "", TOY), load_patch_encoder("dino", "", TOY)
    size = (math.floor(96 * 96 / 70 + 0.5), 96)
    pixels = pillow_tensor(image, size, mean=dino.mean, std=dino.std, mode="nearest",
                           device=torch.device("cpu"))  # fmt: skip
    total, count = torch.zeros(len(names), *size), torch.zeros(size)
    text = clip.embed_queries(names, templates("single"))
    for top in (0, size[0] - 96):
        part = pixels[None, :, top : top + 96]
        seen = functional.normalize(dino.features(part, norm=True), dim=1)
        dense = functional.normalize(clip.dense_features(part, residual=False).values, dim=1)
        looks = torch.einsum("bdhw,qd->bqhw", seen, method._looks).sigmoid()
        said = (10 * torch.einsum("bdhw,qd->bqhw", dense, text)).sigmoid()
        whole = [functional.interpolate(x, (96, 96), mode="bilinear")[0] for x in (looks, said)]
        total[:, top : top + 96] += whole[0] * whole[1]
        count[top : top + 96] += 1
    scores = functional.interpolate((total / count)[None], image.shape[:2], mode="bilinear")[0]
    scores = torch.cat([torch.full_like(scores[:1], 0.4), scores])
    found = method.segment([image])[0]
    assert len(np.unique(found)) > 3
    assert (found == scores.argmax(0).numpy()).mean() > 0.999


def test_the_dense_crf_sees_the_input_s_size(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, ...]] = []
    method = build(crf_iterations=2, short_side=48, window=48, window_stride=48)
    posterior = DenseCRF.posterior

    def watched(crf: Any, image: Image, unary: Tensor) -> Tensor:
        seen.append((crf, image.shape, unary))
        return posterior(crf, image, unary)

    monkeypatch.setattr(DenseCRF, "posterior", watched)
    method.prepare(Vocabulary.of(*THINGS[:3]))
    assert method.segment([scene()])[0].shape == (96, 70)
    ((crf, shape, unary),) = seen
    assert shape == (66, 48, 3)
    assert (crf.iterations, crf.bilateral_std, crf.colour_std) == (2, 67, 3)
    torch.testing.assert_close((-unary).exp().sum(dim=0), torch.ones(66, 48))


def test_vegetation_looks_like_trees_and_context_like_itself(folder: Path) -> None:
    method = build(references=f"{folder}/", context="tree,sky")
    method.prepare(Vocabulary.of("vegetation", "tree", "sky", "grass"))
    vegetation, tree, sky, grass = method._looks
    assert torch.equal(vegetation, tree)
    assert not torch.allclose(tree, sky)
    assert not torch.allclose(grass, tree)


def test_an_archive_is_known_by_what_its_pictures_hold(folder: Path) -> None:
    first = build(references=f"{folder}/").checkpoints
    assert [record.role for record in first].count("archive") == 1
    pictures = sorted(folder.glob("*.png"))
    pictures[0].write_bytes(pictures[1].read_bytes())
    assert build(references=f"{folder}/").checkpoints != first


def published(file: Path, monkeypatch: pytest.MonkeyPatch, width: int = 128) -> dict[str, Tensor]:
    """Vectors as the authors pickle them, in place of those of the catalogue."""
    generator = torch.Generator().manual_seed(0)
    vectors = {
        name: functional.normalize(torch.randn(width, generator=generator), dim=0)
        for name in ("road", "parking lot", "sky")
    }
    file.write_bytes(pickle.dumps(vectors))
    located = Located(file, (CheckpointRecord("reco", file.name, None, "0" * 64),))
    monkeypatch.setattr(references, "locate", lambda *_: located)
    return vectors


def test_published_vectors_are_taken_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = published(tmp_path / "vectors.pkl", monkeypatch)
    method = build()
    method.prepare(Vocabulary.of("sky", "road", background=True))
    assert torch.equal(method._looks, torch.stack([vectors["sky"], vectors["road"]]))
    message = r"vectors\.pkl: holds nothing of cat, dog; take .* --set references=FOLDER/"
    with pytest.raises(UsageError, match=message):
        method.prepare(Vocabulary.of("sky", "cat", "dog"))


def test_vectors_of_another_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(tmp_path / "vectors.pkl", monkeypatch, width=384)
    with pytest.raises(UsageError, match=r"road has 384 numbers, and .* tells places by 128"):
        build()


def test_a_folder_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="nowhere: no such folder"):
        build(references="nowhere/")


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(UsageError, match=r"holds no pictures \(\.bmp, \.jpeg"):
        build(references=f"{tmp_path}/")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"background_score": 1.5}, "background_score"),
        ({"pictures": 0}, "pictures and picture_side must be positive"),
        ({"crf_iterations": -1}, "crf_iterations must not be negative"),
        ({"sharpness": 0.0}, "sharpness must be positive"),
        ({"window": 160}, "at least window_stride"),
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        override(ReCoSettings, settings)


@pytest.mark.slow
def test_the_published_networks_run_with_random_weights() -> None:
    settings = {
        "references": "random", "encoder": "random_deit", "dense_pretrained": "random",
        "prompts": "single", "crf_iterations": 1,
    }  # fmt: skip
    method = ReCo(override(ReCoSettings, settings), Runtime())
    method.prepare(Vocabulary.of("cat", "dog", background=True))
    assert method.segment([scene()])[0].shape == (96, 70)
    assert method.multiple == 32
    assert method._looks.shape == (2, 384)
