"""CLIPpy's scoring against its steps written out pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tiny_towers
import torch
from PIL import Image as Pillow
from torch import Tensor
from torch.nn import functional

from ovbench.adapters.pooled import clippy as adapter
from ovbench.adapters.pooled.clippy import CLIPpy, CLIPpySettings, with_article
from ovbench.datasets.names import read_vocabulary
from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.vocabulary import Vocabulary

VOC = read_vocabulary("voc", "clippy", num_classes=20, background=True)


class Towers:
    """Fixed texts, and places that are colours of the picture's patches through a matrix."""

    checkpoints, device, patch = (), torch.device("cpu"), 8

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.matrix = torch.randn(6, 3, generator=generator)
        self.text = functional.normalize(torch.randn(60, 6, generator=generator), dim=1)
        self.asked: list[str] = []
        self.seen = torch.zeros(0)

    def places(self, images: Tensor) -> Tensor:
        self.seen = images
        return torch.einsum("dc,bchw->bdhw", self.matrix, functional.avg_pool2d(images, 8))

    def embed_queries(self, queries: Sequence[str], templates: Sequence[str]) -> Tensor:
        self.asked = [template.format(query) for query in queries for template in templates]
        return self.text[: len(queries)]


@pytest.fixture
def towers(monkeypatch: pytest.MonkeyPatch) -> Towers:
    made = Towers()
    monkeypatch.setattr(adapter, "load_clippy", lambda *_: made)
    return made


def picture() -> Any:
    coarse = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    return np.asarray(Pillow.fromarray(coarse).resize((45, 30), Pillow.Resampling.BICUBIC))


def test_labels_are_those_of_the_steps_written_out(towers: Towers) -> None:
    method = CLIPpy(CLIPpySettings(side=32), Runtime())
    method.prepare(VOC)
    (answer,) = method.segment([picture()])
    square = np.asarray(Pillow.fromarray(picture()).resize((32, 32), Pillow.Resampling.BICUBIC))
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    expected_input = (square / 255 - np.array(mean)) / np.array(std)
    seen = towers.seen[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(seen, expected_input, atol=1e-5)
    places = towers.places(towers.seen)[0]
    # Places first, of unit length, then pixels, then texts, and names behind the 20 are none.
    unit = torch.stack([places[:, y, x] / places[:, y, x].norm() for y in range(4)
                        for x in range(4)], dim=1).reshape(1, 6, 4, 4)  # fmt: skip
    pixels = functional.interpolate(unit, (30, 45), mode="bilinear")[0]
    names = [VOC.queries[i] for i in range(60)]
    for y in range(30):
        for x in range(45):
            best = int((towers.text @ pixels[:, y, x]).argmax())
            assert answer[y, x] == names[best][1]
    assert len(np.unique(answer)) > 3
    assert (answer == 0).any()


def test_sixty_names_are_asked_for_with_their_article(towers: Towers) -> None:
    method = CLIPpy(CLIPpySettings(side=32), Runtime())
    method.prepare(VOC)
    assert len(towers.asked) == 60
    assert towers.asked[0] == "a photo of a background"
    assert sum(label == 0 for _, label in VOC.queries) == 40
    assert "a photo of an aeroplane" in towers.asked
    assert "a photo of a television monitor" in towers.asked
    method.prepare(Vocabulary.of("Umbrella", "TV"))
    assert towers.asked == ["a photo of an umbrella", "a photo of a tv"]
    assert with_article("hour") == "a hour"


def test_candidates_and_pictures_of_different_sizes(towers: Towers) -> None:
    method = CLIPpy(CLIPpySettings(side=32), Runtime())
    method.prepare(VOC)
    images = [picture(), picture()[:, :17], picture()]
    answers = method.segment(images, [[3, 7], [1], [4]])
    for answer, image, chosen in zip(answers, images, ([3, 7], [1], [4]), strict=True):
        assert answer.shape == image.shape[:2]
        assert {*np.unique(answer)} <= {0, *chosen}


def test_a_side_that_is_no_number_of_patches_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_towers.use(monkeypatch)
    with pytest.raises(UsageError, match="side=30: must be a multiple of the model's patch, 8 pi"):
        CLIPpy(CLIPpySettings(weights="random", side=30), Runtime())
