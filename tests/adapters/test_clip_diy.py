"""CLIP-DIY on the miniatures, against its steps written out one patch at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ovbench.adapters.clip_diy import CLIPDIY, CLIPDIYSettings, crops_of, weighed
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import override
from ovbench.harness.contract.vocabulary import ClassQuery, Vocabulary
from ovbench.models.clip.model import load_clip
from ovbench.models.patches.saliency import load_saliency
from ovbench.models.pixels.inputs import pillow_tensor
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.world import SPLITS, THINGS

TOY = Runtime(checkpoints="toy")


def scene(index: int = 0) -> Image:
    """Of 96 rows and 70 columns."""
    return render_scene(SPLITS["val"][index]).image[:, :70]


def build(**settings: Any) -> CLIPDIY:
    return CLIPDIY(CLIPDIYSettings(**settings), TOY)


def written_out(image: Image, texts: list[str]) -> Tensor:
    """Scores ``(Q, 256, 256)``, the first text describing background, crops by Pillow."""
    clip, saliency, cpu = load_clip("", "", TOY), load_saliency("", TOY), torch.device("cpu")
    queries = clip.encode_text([f"a photo of a {text}" for text in texts])
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    square = functional.interpolate(pixels, (256, 256), mode="bilinear").round()[0]
    total = torch.zeros(len(texts), 256, 256)
    for patch, count in ((256, 1), (128, 3), (64, 7)):
        grid = torch.zeros(1, len(texts), count, count)
        for row in range(count):
            for column in range(count):
                top, left = row * patch // 2, column * patch // 2
                crop = square[:, top : top + patch, left : left + patch]
                array = crop.permute(1, 2, 0).numpy().astype(np.uint8)
                size = (clip.image_size, clip.image_size)
                one = pillow_tensor(array, size, mean=clip.mean, std=clip.std, mode="bicubic",
                                    device=cpu)  # fmt: skip
                grid[0, :, row, column] = queries @ clip.encode_image(one[None])[0]
        total += functional.interpolate(grid, (256, 256), mode="bilinear")[0] / 3
    shift, scale = (torch.tensor(v)[:, None, None] for v in (saliency.mean, saliency.std))
    found = saliency.predict((pixels / 255 - shift) / scale)
    found = functional.interpolate(found[None], (256, 256), mode="bilinear")[0, 0]
    return torch.cat([total[:1] * (1 - found), total[1:] * found])


def test_a_pixel_has_the_label_of_the_steps_written_out() -> None:
    image, names = scene(), list(THINGS)
    scores = written_out(image, ["background", *names])
    labels = scores.argmax(0)[None, None].float()
    expected = {
        "scores": functional.interpolate(scores[None], (96, 70), mode="bilinear")[0].argmax(0),
        "labels": functional.interpolate(labels, (96, 70), mode="nearest")[0, 0],
    }
    for enlarge, wanted in expected.items():
        method = build(enlarge=enlarge)
        method.prepare(Vocabulary.of(*names, background=True))
        found = method.segment([image])[0]
        assert len(np.unique(found)) > 2
        # Pillow's bytes of a crop are up to one level away.
        assert (found == wanted.numpy()).mean() > 0.995


def test_patches_lie_half_their_side_apart() -> None:
    places = torch.stack(torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij"))
    counts = []
    for patch in (256, 128, 64):
        crops = crops_of(places, patch, patch // 2)
        counts.append(crops[..., 0, 0, 0].numel())
        assert crops[0, -1, :, 0, 0].tolist() == [0, 256 - patch]
        assert crops[-1, 0, :, -1, -1].tolist() == [255, patch - 1]
    assert counts == [1, 9, 49]


def test_background_is_where_nothing_is_salient() -> None:
    scores = torch.rand(3, 4, 4) + 0.1
    behind = torch.tensor([True, False, False])
    assert (weighed(scores, torch.zeros(4, 4), behind).argmax(0) == 0).all()
    assert (weighed(scores, torch.ones(4, 4), behind).argmax(0) > 0).all()
    half = weighed(scores, torch.full((4, 4), 0.5), behind)
    assert torch.equal(half.argmax(0), scores.argmax(0))


def test_without_a_background_nobody_asks_for_saliency(monkeypatch: pytest.MonkeyPatch) -> None:
    method = build()
    monkeypatch.setattr(method, "_foreground", None)  # whoever calls it fails
    method.prepare(Vocabulary.of("sea", "sky"))
    assert set(np.unique(method.segment([scene()])[0])) <= {0, 1}


def test_a_large_image_is_shrunk_for_saliency_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    method, seen = build(saliency_long_side=64), []
    predict = method._saliency.predict
    monkeypatch.setattr(
        method._saliency, "predict", lambda x: seen.append(tuple(x.shape)) or predict(x)
    )
    method.prepare(Vocabulary.of("sea", background=True))
    assert method.segment([scene()])[0].shape == (96, 70)
    assert seen == [(1, 3, 64, 47)]


def test_the_strongest_of_a_class_s_texts_counts() -> None:
    method, image = build(patches=(128,)), scene()
    names = list(THINGS)
    method.prepare(Vocabulary.of(*names))
    apart = method.segment([image])[0]
    joined = Vocabulary((ClassQuery(names[0], synonyms=tuple(names[1:5])),
                         *(ClassQuery(name) for name in names[5:])))  # fmt: skip
    method.prepare(joined)
    np.testing.assert_array_equal(
        method.segment([image])[0], np.where(apart < 5, 0, apart.astype(int) - 4)
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patches": []}, "there must be patches"),
        ({"patches": [512]}, "at most as side"),
        ({"patches": [8], "steps": 9}, "as large as steps"),
        ({"steps": 0}, "as large as steps"),
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        override(CLIPDIYSettings, settings)
