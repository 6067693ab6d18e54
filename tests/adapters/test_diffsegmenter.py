"""DiffSegmenter: its rule of scores written out, and what stands for a name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from in_process import ovbench
from torch.nn import functional

from ovbench.adapters import diffsegmenter as adapter
from ovbench.adapters.diffsegmenter import DiffSegmenter, decided, weighed
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import override
from ovbench.harness.contract.vocabulary import Vocabulary

Maps = npt.NDArray[np.float64]
NAMES = ("circle", "square", "ring")
RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 256, (40, 56, 3), dtype=np.uint8) for _ in range(2)]


@pytest.fixture(scope="module")
def method() -> DiffSegmenter:
    settings = override(DiffSegmenter.Settings, {"captioner": "none"})
    return DiffSegmenter(settings, Runtime(checkpoints="toy"))


def enlarged(one: npt.NDArray[np.floating], size: tuple[int, int]) -> Maps:
    """Bilinear, pixel by pixel, where outer edges meet."""
    found = np.empty(size)
    for y in range(size[0]):
        for x in range(size[1]):
            row, column = (
                min(max((at + 0.5) * n / to - 0.5, 0), n - 1)
                for at, n, to in zip((y, x), one.shape, size, strict=True)
            )
            top, left = int(row), int(column)
            below, right = min(top + 1, one.shape[0] - 1), min(left + 1, one.shape[1] - 1)
            down, along = row - top, column - left
            found[y, x] = (1 - down) * (
                (1 - along) * one[top, left] + along * one[top, right]
            ) + down * ((1 - along) * one[below, left] + along * one[below, right])
    return found


def from_0_to_1(one: Maps) -> Maps:
    return (one - one.min()) / (one.max() - one.min())


class Looked:
    """What was looked at at four sizes; the attention among places is a given matrix."""

    grid = (16, 16)

    def __init__(self, rng: np.random.Generator, texts: int) -> None:
        self.words = {
            16 // n: torch.from_numpy(rng.random((texts, n, n))).float() for n in (2, 4, 8, 16)
        }
        self.matrix = torch.from_numpy(rng.dirichlet(np.ones(256), 256)).float()

    def spread(self, maps: torch.Tensor) -> torch.Tensor:
        return (maps.flatten(1) @ self.matrix.T).reshape(maps.shape)


@pytest.mark.parametrize("background", [0.52, None])
def test_the_rule_written_out(background: float | None) -> None:
    rng, weights, size = np.random.default_rng(1), (0.3, 0.5, 0.1, 0.1), (13, 21)
    looked = Looked(rng, texts=3)
    maps = looked.spread(weighed(looked, weights))  # type: ignore[arg-type]
    found = decided(maps, np.array([1, 2, 4]), size, background)

    scores = [np.full(size, -np.inf if background is None else background)]
    for text in range(3):
        total = np.zeros((16, 16))
        for weight, words in zip(weights, looked.words.values(), strict=True):
            one = words[text].double().numpy()
            total += weight * from_0_to_1(enlarged(one, (16, 16)))
        spread = np.array([row @ total.ravel() for row in looked.matrix.double().numpy()])
        scores.append(from_0_to_1(enlarged(spread.reshape(16, 16), size)))
    expected = np.array([0, 1, 2, 4])[np.argmax(scores, axis=0)]
    assert len(np.unique(expected)) == (3 if background is None else 4)
    near = np.sort(scores, axis=0)
    sure = near[-1] - near[-2] > 1e-5
    assert sure.mean() > 0.99
    np.testing.assert_array_equal(found[sure], expected[sure])


def test_answers_follow_from_maps_of_the_seed_alone(method: DiffSegmenter) -> None:
    method.prepare(Vocabulary.of(*NAMES, background=True))
    both = method.segment(IMAGES)
    for image, answer in zip(reversed(IMAGES), reversed(both), strict=True):
        np.testing.assert_array_equal(method.segment([image])[0], answer)
    maps = method._maps(IMAGES[0], NAMES)
    # A text's map is the same with others and alone: all see one noise.
    torch.testing.assert_close(method._maps(IMAGES[0], NAMES[1:2])[0], maps[1])
    expected = decided(maps, np.array([1, 2, 3]), IMAGES[0].shape[:2], 0.52)
    np.testing.assert_array_equal(both[0], expected)


def test_only_candidates_are_looked_for(
    method: DiffSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    method.prepare(Vocabulary.of(*NAMES, background=True))
    asked: list[Sequence[str]] = []
    maps = method._maps
    monkeypatch.setattr(
        method, "_maps", lambda image, names: asked.append(names) or maps(image, names)
    )
    chosen, nothing = method.segment(IMAGES, [{3}, set()])
    assert asked == [["ring"]]
    assert set(np.unique(chosen)) == {0, 3}
    assert not nothing.any()


@pytest.mark.parametrize(
    ("caption", "more"),
    [(" sitting on a square", 1), (" on a ring", 0), ("ing", 0), ("", 0)],
)
def test_who_does_something_looks_like_it(
    caption: str, more: int, method: DiffSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    class Told:
        def encode(self, _image: Image) -> None:
            return None

        def go_on(self, _picture: None, beginning: str) -> str:
            seen.append(beginning)
            return caption

    monkeypatch.setattr(method, "_captioner", Told())
    ((text, positions),) = method._texts(IMAGES[0], ["red circle"])
    assert seen == ["a photograph of red circle"]
    last = text.word[1]
    assert positions == ((last, last + 1) if more else (last,))
    tokens = method._diffusion._parts.tokenizer
    assert tokens.decode(text.ids[text.word[0] : last + 1]).strip() == "circle"
    assert tokens.decode(text.ids[1 : last + 1]).strip() == seen[0]


def test_pictures_are_squashed_without_averaging(
    method: DiffSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[torch.Tensor] = []
    noisy = method._diffusion.noisy
    monkeypatch.setattr(method._diffusion, "noisy", lambda x, **k: given.append(x) or noisy(x, **k))
    image = np.random.default_rng(2).integers(0, 256, (200, 150, 3), dtype=np.uint8)
    method._maps(image, NAMES[:1])
    side = method._diffusion.image_size
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    expected = 2 * functional.interpolate(pixels, (side, side), mode="bilinear") - 1
    torch.testing.assert_close(given[0], expected[0], atol=1e-5, rtol=0)


def test_a_picture_is_encoded_once_however_many_names_there_are(
    method: DiffSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Stable Diffusion and by the captioner, and both go on from that."""
    told, counted = [], {"autoencoder": 0, "captioner": 0}

    class Told:
        def encode(self, image: Image) -> tuple[str, bytes]:
            counted["captioner"] += 1
            return ("encoded", image.tobytes())

        def go_on(self, picture: object, _beginning: str) -> str:
            told.append(picture)
            return ""

    monkeypatch.setattr(method, "_captioner", Told())
    names = [*NAMES, "star", "cross"]
    assert len(names) > adapter.TEXTS_PER_PASS

    def count(*_: object) -> None:
        counted["autoencoder"] += 1

    hook = method._diffusion._parts.vae.encoder.register_forward_hook(count)
    try:
        maps = method._maps(IMAGES[0], names)
    finally:
        hook.remove()
    assert (len(maps), counted) == (len(names), {"autoencoder": 1, "captioner": 1})
    assert told == [("encoded", IMAGES[0].tobytes())] * len(names)


def test_settings_that_mean_nothing_are_refused() -> None:
    for values, fault in (
        ({"timestep": -1}, "timestep must not be negative"),
        ({"timestep": 1000}, "timestep"),
        ({"weights": (0.3, -0.1, 0.1, 0.1)}, "weights must not be negative"),
        ({"weights": ()}, "nor all be 0"),
        ({"captioner": "gpt"}, "captioner"),
    ):
        with pytest.raises(UsageError, match=fault):
            override(DiffSegmenter.Settings, values)
    settings = override(DiffSegmenter.Settings, {"captioner": "none", "weights": (1.0,)})
    with pytest.raises(UsageError, match=r"weights: 1 numbers, .* at 4 sizes; give one for each"):
        DiffSegmenter(settings, Runtime(checkpoints="toy"))


def test_a_name_that_is_too_long_is_told_before_any_picture(method: DiffSegmenter) -> None:
    with pytest.raises(UsageError, match=r"tokens, .*: rename the class"):
        method.prepare(Vocabulary.of("circle " * 30))


def test_a_captioner_is_loaded_and_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    class Loaded:
        checkpoints = ("caption's",)

    monkeypatch.setattr(adapter, "load_captioner", lambda name, runtime: Loaded())
    found = DiffSegmenter(DiffSegmenter.Settings(), Runtime(checkpoints="toy"))
    assert found.checkpoints[-1] == "caption's"
    assert [record.role for record in found.checkpoints[:-1]] == ["stable_diffusion"] * 3


def test_the_command_line(tmp_path: Path) -> None:
    world = (
        "run",
        "--method",
        "diffsegmenter",
        "--dataset",
        "toyworld",
        "--limit",
        2,
        "-o",
        tmp_path,
    )
    found = ovbench(*world, "--classes", "oracle", "--preset", "without_captions")
    assert found.returncode == 0, found.stderr
    assert "mIoU" in found.stdout
    for asked, fault in (
        ((), "ovbench has no miniature of blip_captioner"),
        (("--set", "captioner=none", "--set", "weights=1,1"), "setting weights: 2 numbers"),
        (("--set", "timestep=1000"), "timestep"),
    ):
        refused = ovbench(*world, *asked)
        assert refused.returncode == 2
        assert fault in refused.stderr
        assert refused.stderr.count("\n") <= 2  # what is loaded, and the fault
        assert refused.stderr.splitlines()[-1].startswith("error: ")
