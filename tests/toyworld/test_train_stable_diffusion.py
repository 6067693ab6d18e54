"""The miniature Stable Diffusion: its parts, its losses, and a training that can be killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from transformers import CLIPTokenizer

from ovbench.toyworld.captions import caption, vocabulary_texts
from ovbench.toyworld.train.roles import stable_diffusion
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.teaching import autoencoder
from ovbench.toyworld.train.teaching.autoencoder import LatentBank, build_autoencoder
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.train.teaching.binding import KeepCrossAttention, stray_mass
from ovbench.toyworld.train.teaching.subwords import write_clip_tokenizer
from ovbench.toyworld.world import NAMES, THINGS


class KilledError(Exception):
    """Stands for whatever ends a process."""


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_clip_tokenizer([*vocabulary_texts(), *NAMES], folder, 24)
    return CLIPTokenizer.from_pretrained(folder)


def test_every_word_of_the_captions_is_one_token(tokenizer: CLIPTokenizer) -> None:
    rng = np.random.default_rng(0)
    for name in NAMES:
        assert len(tokenizer(name).input_ids) == 3
    text = caption(["star", "ring", "heart", "arrow", "sand", "sky"], rng)
    words = text.replace(",", " ,").replace(".", " .").split()
    assert tokenizer.tokenize(text) == [f"{word}</w>" for word in words]


def test_other_words_fall_apart_into_letters(tokenizer: CLIPTokenizer) -> None:
    assert tokenizer.tokenize("ZEBRA")[-1] == "a</w>"
    assert tokenizer.unk_token not in tokenizer.tokenize("zebra 7!")


def test_start_and_end_are_the_last_ids_as_in_clip(tokenizer: CLIPTokenizer) -> None:
    ids = tokenizer("star", padding="max_length").input_ids
    assert len(ids) == 24
    assert (ids[0], ids[-1]) == (len(tokenizer) - 2, len(tokenizer) - 1)


def test_latents_do_not_depend_on_what_was_asked_for_before() -> None:
    torch.manual_seed(0)
    vae, bank = build_autoencoder().eval(), SceneBank(70)
    first, second = (LatentBank(vae, bank, "cpu") for _ in range(2))
    indices = np.array([66, 3, 40])
    one_by_one = torch.cat([first.take(indices[i : i + 1]) for i in (2, 0, 1)])
    assert torch.equal(one_by_one, second.take(indices)[[2, 0, 1]])
    assert second.take(np.arange(70)).std() == pytest.approx(1, abs=0.02)


def test_kept_attention_is_that_of_the_plain_processor() -> None:
    torch.manual_seed(0)
    attn = Attention(32, cross_attention_dim=16, heads=4, dim_head=8)
    places, words = torch.randn(2, 64, 32), torch.randn(2, 5, 16)
    keeper = KeepCrossAttention()
    attn.set_processor(AttnProcessor2_0())
    expected = attn(places, words)
    attn.set_processor(keeper)
    assert torch.allclose(attn(places, words), expected, atol=1e-5)
    query = attn.to_q(places).reshape(2, 64, 4, 8).transpose(1, 2)
    key = attn.to_k(words).reshape(2, 5, 4, 8).transpose(1, 2)
    shares = (query @ key.mT / 8**0.5).softmax(-1).mean(1)
    assert torch.allclose(keeper.kept[0], shares, atol=1e-6)


def test_stray_mass_is_the_share_outside() -> None:
    regions = torch.zeros(1, 2, 8, 8)
    regions[0, 0, :, :2] = 1  # the first class fills a quarter
    words = torch.zeros(1, 2, 3, dtype=torch.bool)
    words[0, 0, 1] = True  # and is named by the second token; the other class is not named
    everywhere = torch.full((1, 64, 3), 1 / 3)
    weight = torch.ones(1)
    assert stray_mass([everywhere], words, regions, weight).item() == pytest.approx(0.75)
    focused = torch.zeros(1, 64, 3)
    focused[0, regions[0, 0].flatten() > 0, 1] = 1
    assert stray_mass([focused], words, regions, weight).item() == pytest.approx(0)
    assert stray_mass([everywhere], words, regions, weight / 2).item() == pytest.approx(0.375)


def test_regions_are_shares_of_the_pixels() -> None:
    labels = np.full((1, 8, 8), NAMES.index("sky"), np.uint8)
    labels[0, :4, :2] = THINGS.index("star")
    regions = stable_diffusion.class_regions(labels, 2)
    assert torch.equal(regions.sum(dim=1), torch.ones(1, 2, 2))
    assert regions[0, THINGS.index("star")].tolist() == [[0.5, 0], [0, 0]]


def test_half_of_the_timesteps_are_from_the_middle() -> None:
    timesteps = stable_diffusion.draw_timesteps(4000, np.random.default_rng(0))
    assert timesteps.min() >= 0
    assert timesteps.max() < 1000
    assert ((timesteps >= 350) & (timesteps < 950)).mean() == pytest.approx(0.8, abs=0.03)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """The gradients of convolutions are summed in another order by several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few scenes and batches of two pictures."""
    small = {"scenes": 40, "crop_batch": 2, "whole_batch": 2}
    monkeypatch.setattr(stable_diffusion, "RECIPE", stable_diffusion.RECIPE | small)
    monkeypatch.setattr(autoencoder, "RECIPE", autoencoder.RECIPE | {"crop_batch": 2})
    monkeypatch.setattr(stable_diffusion, "EVALUATED", 2)
    stages = tuple({**stage, "share": 1 / 3} for stage in stable_diffusion.STAGES)
    monkeypatch.setattr(stable_diffusion, "STAGES", stages)


def train_until(step: int, options: Options) -> None:
    """Train text encoder and U-Net and be killed before ``step``."""
    lesson = stable_diffusion.Lesson.loss

    def loss(self: stable_diffusion.Lesson, number: int) -> torch.Tensor:
        if self.first + number == step:
            raise KilledError
        return lesson(self, number)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KilledError):  # noqa: PT012
        patch.setattr(stable_diffusion.Lesson, "loss", loss)
        stable_diffusion.train(options)


@pytest.mark.usefixtures("tiny", "one_thread")
def test_a_killed_run_ends_like_one_that_was_not(tmp_path: Path) -> None:
    whole = Options(tmp_path / "whole", steps=6, save_every=1)
    stable_diffusion.train(whole)
    broken = Options(tmp_path / "broken", steps=6, save_every=1)
    train_until(3, broken)
    train_until(5, broken)
    stable_diffusion.train(broken)
    for part in ("unet", "vae", "text_encoder"):
        (weights,) = (whole.output / part).glob("*.safetensors")
        assert weights.read_bytes() == (broken.output / part / weights.name).read_bytes()
    check_pipeline(whole.output)


def check_pipeline(folder: Path) -> None:
    """The real pipeline class loads the folder and draws a picture with it."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    prompt = "a photo of a star"
    images = pipeline(prompt, num_inference_steps=2, generator=generator, output_type="np").images
    assert images.shape == (1, 96, 96, 3)
    assert np.isfinite(images).all()
    # Real Stable Diffusion 1.x has the same attention layers under the same names.
    names = [n for n, _ in pipeline.unet.named_modules() if n.endswith("attn2")]
    assert len(names) == 16
