"""Training of the miniatures: resumable to the bit, and loadable without a network."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from ovbench.errors import UsageError
from ovbench.toyworld.captions import caption
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.train.__main__ import main
from ovbench.toyworld.train.roles import clip
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.train.teaching.views import draw_views, presence
from ovbench.toyworld.world import NAMES, SIZE, SPLITS

WEIGHTS = "open_clip_model.safetensors"


class KilledError(Exception):
    """Stands for whatever ends a process."""


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of a few pictures, both kinds of step, quick figures."""
    small = {"scenes": 40, "crop_batch": 12}
    monkeypatch.setattr(clip, "RECIPE", clip.RECIPE | small)
    stages = tuple({**s, "share": 1 / 3, "crop_share": 0.5, "scene_batch": 6} for s in clip.STAGES)
    monkeypatch.setattr(clip, "STAGES", stages)
    monkeypatch.setattr(clip, "EVALUATED", 2)


def train_until(step: int, options: Options) -> None:
    """Train and be killed before ``step``."""
    lesson = clip.Lesson.loss

    def loss(self: clip.Lesson, number: int) -> torch.Tensor:
        if self.first + number == step:
            raise KilledError
        return lesson(self, number)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KilledError):  # noqa: PT012
        patch.setattr(clip.Lesson, "loss", loss)
        clip.train(options)


@pytest.mark.usefixtures("tiny")
def test_a_killed_run_ends_like_one_that_was_not(tmp_path: Path) -> None:
    """Killed in every stage after one step."""
    whole = Options(tmp_path / "whole", steps=6, save_every=1)
    clip.train(whole)
    broken = Options(tmp_path / "broken", steps=6, save_every=1)
    train_until(1, broken)
    assert torch.load(broken.output / "training-1.pt", weights_only=True)["step"] == 1
    train_until(3, broken)
    assert torch.load(broken.output / "training-2.pt", weights_only=True)["step"] == 1
    train_until(5, broken)
    assert torch.load(broken.output / "training-3.pt", weights_only=True)["step"] == 1
    clip.train(broken)
    assert (broken.output / WEIGHTS).read_bytes() == (whole.output / WEIGHTS).read_bytes()
    assert not list(broken.output.glob("*.pt"))


@pytest.mark.usefixtures("tiny")
def test_the_state_of_another_run_is_refused(tmp_path: Path) -> None:
    train_until(1, Options(tmp_path, steps=6, save_every=1))
    with pytest.raises(UsageError, match="--steps"):
        clip.train(Options(tmp_path, steps=6, seed=1))


@pytest.mark.usefixtures("tiny")
def test_the_command_writes_what_open_clip_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(["clip", "--steps", "3", "--output", str(tmp_path)]) == 0
    check_checkpoint(tmp_path)
    assert json.loads((tmp_path / "card.json").read_text())["steps"] == 3


@pytest.mark.usefixtures("tiny")
def test_a_wrong_device_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clip", "--device", "cuda:77", "--output", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: --device cuda:77: ")


def test_the_shipped_checkpoint_is_the_one_its_card_describes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = Path(clip.__file__).parents[2] / "weights" / "clip"
    check_checkpoint(folder)
    card = json.loads((folder / "card.json").read_text())
    assert card["metrics"]["miou_15_96px"] > 50
    assert (folder / WEIGHTS).stat().st_size < 5_000_000
    assert sum(file.stat().st_size for file in folder.iterdir()) < 5_000_000


def check_checkpoint(folder: Path) -> None:
    """The folder loads as ``local-dir`` and its card has the digest of the weights."""
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    pixels = preprocess(Image.fromarray(render_scene(SPLITS["val"][0]).image))[None]
    expected = clip.normalize(render_scene(SPLITS["val"][0]).image[None])
    assert torch.allclose(pixels, expected, atol=1e-5)
    texts = tokenizer(["a photo of a star.", "a photo of a zebra."])
    assert texts.shape == (2, 24)
    assert model.encode_image(pixels).shape == model.encode_text(texts[:1]).shape == (1, 64)
    card = json.loads((folder / "card.json").read_text())
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    assert card["weights"][0]["sha256"] == digest


def test_the_tokenizer_knows_every_caption(tmp_path: Path) -> None:
    tokens = clip.words()
    clip.write_config(tokens, tmp_path)
    tokenizer = open_clip.get_tokenizer(f"local-dir:{tmp_path}")
    rng = np.random.default_rng(0)
    texts = [caption(rng.permutation(NAMES)[: rng.integers(1, 7)], rng) for _ in range(300)]
    ids = tokenizer(texts)
    assert not (ids == tokens.index("[UNK]")).any()
    assert (ids == len(tokens) - 1).sum(dim=1).eq(1).all()  # nothing is cut off
    unknown = tokenizer(["A photo of a ZEBRA, and a Star"])[0].tolist()
    assert unknown.count(tokens.index("[UNK]")) == 1
    assert tokens.index("star") in unknown


def test_a_crop_is_captioned_by_what_it_shows() -> None:
    views = draw_views(SceneBank(8), 8, 48, np.random.default_rng(0))
    assert views.images.shape == (8, 48, 48, 3)
    label = np.full((1, 8, 8), NAMES.index("sky"), np.uint8)
    label[0, :5] = NAMES.index("star")
    assert np.flatnonzero(presence(label)[0]).tolist() == [NAMES.index("star")]


def test_whole_scenes_are_encoded_as_the_model_does() -> None:
    tower = clip.build(len(clip.words()), Options(Path(), 1)).visual.eval()
    views = draw_views(SceneBank(2), 2, SIZE, np.random.default_rng(0))
    pixels = clip.normalize(views.images)
    assert torch.equal(clip.encode_views(tower, pixels, (0, 0), 1.0), tower(pixels))


def test_a_crop_keeps_its_place_in_the_scene() -> None:
    """With position embeddings that tell the place, an enlarged crop is read off them."""
    tower = clip.build(len(clip.words()), Options(Path(), 1)).visual.eval()
    seen = []
    tower.ln_pre.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        tower.conv1.weight.zero_()
        tower.positional_embedding.zero_()
        tower.positional_embedding[1:, 0] = torch.arange(12.0).repeat_interleave(12)
        tower.positional_embedding[1:, 1] = torch.arange(12.0).repeat(12)
        clip.encode_views(tower, torch.zeros(1, 3, 64, 64), (16, 48), 2.0)
    rows, columns = (seen[0][0, 1:, axis].reshape(8, 8) for axis in (0, 1))
    # bicubic interpolation overshoots by a few hundredths of a patch near the borders
    assert torch.allclose(rows[:, 3], 1.75 + torch.arange(8) / 2, atol=0.1)
    assert torch.allclose(columns[3, :], 5.75 + torch.arange(8) / 2, atol=0.1)


def test_attention_alone_is_what_the_value_path_reads() -> None:
    """Over a single token, attention is its value through the output layer."""
    model = clip.build(len(clip.words()), Options(Path(), 1)).eval()
    block = model.visual.transformer.resblocks[-1]
    tokens = torch.randn(2, 1, clip.VISION["width"])
    with clip.attention_alone(model.visual, True):
        alone = model.visual.transformer.resblocks[-1](tokens)
    assert model.visual.transformer.resblocks[-1] is block
    weight, bias = (p.chunk(3)[2] for p in (block.attn.in_proj_weight, block.attn.in_proj_bias))
    values = torch.nn.functional.linear(block.ln_1(tokens), weight, bias)
    assert torch.allclose(alone, block.attn.out_proj(values), atol=1e-6)


def test_sigmoid_loss_prefers_the_truth() -> None:
    lesson = clip.Lesson.__new__(clip.Lesson)
    cosines = torch.full((1, len(NAMES)), -1.0)
    cosines[0, 3] = 1.0
    lesson._logits = lambda image, named, rng: 10 * cosines
    present = np.zeros((1, len(NAMES)), bool)
    present[0, 3] = True
    right = lesson._sigmoid(torch.zeros(1, 1), present, np.random.default_rng(0))
    wrong = lesson._sigmoid(torch.zeros(1, 1), ~present, np.random.default_rng(0))
    assert right < 0.01 < wrong


def test_a_caption_names_all_classes_or_some() -> None:
    rng = np.random.default_rng(0)
    present = rng.random((400, len(NAMES))) < 0.2
    present[:, 0] = True
    named = clip.name_some(present, rng)
    assert (named <= present).all()
    assert named.any(axis=1).all()
    assert 0.3 < (named != present).any(axis=1).mean() < 0.6
