"""Loading and text embeddings, against open_clip itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip import pretrained as tags
from open_clip.transformer import QuickGELU
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from torch.nn import functional
from watchers import Watcher

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.models.clip import model as module
from ovbench.models.clip.model import load_clip
from ovbench.models.weights import packaged

pytestmark = pytest.mark.usefixtures("tiny_clips")


def test_text_embeddings_are_open_clips() -> None:
    clip = load_clip("tiny-vit", "random", Runtime())
    texts = ["a cat", "a dog", "a cat"]
    tokens = open_clip.get_tokenizer("tiny-vit")(texts)
    with torch.inference_mode():
        expected = functional.normalize(clip._model.encode_text(tokens), dim=-1)
    torch.testing.assert_close(clip.encode_text(texts), expected)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_image_embeddings_are_open_clips(precision: str) -> None:
    clip = load_clip("tiny-vit", "random", Runtime(precision=precision))
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    original = load_clip("tiny-vit", "random", Runtime())._model
    with torch.inference_mode():
        expected = functional.normalize(original.encode_image(images), dim=-1)
    embedded = clip.encode_image(images)
    assert embedded.dtype == torch.float32
    torch.testing.assert_close(embedded.norm(dim=-1), torch.ones(3))
    tolerance = 1e-6 if precision == "fp32" else 0.02
    torch.testing.assert_close(embedded, expected, atol=tolerance, rtol=0)


def test_equal_texts_are_encoded_once_and_batches_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TEXT_BATCH", 2)
    clip = load_clip("tiny-vit", "random", Runtime())
    encode, sizes = clip._model.encode_text, []

    def counted(tokens: torch.Tensor, **options: bool) -> torch.Tensor:
        sizes.append(len(tokens))
        return encode(tokens, **options)

    monkeypatch.setattr(clip._model, "encode_text", counted)
    embedded = clip.encode_text(["a", "b", "a", "c", "b"])
    assert sizes == [2, 1]
    assert torch.equal(embedded[0], embedded[2])
    assert torch.equal(embedded[1], embedded[4])
    torch.testing.assert_close(embedded[3:4], clip.encode_text(["c"]))


def test_queries_average_over_templates() -> None:
    clip = load_clip("tiny-vit", "random", Runtime())
    one, two = clip.encode_text(["a red kite", "my red kite!"])
    mean = (one + two) / 2
    embedded = clip.embed_queries(["sea", "red kite"], ["a {}", "my {}!"])
    torch.testing.assert_close(embedded[1], mean / mean.norm())


def test_random_weights_follow_the_seed_alone() -> None:
    def embed(seed: int) -> torch.Tensor:
        return load_clip("tiny-vit", "random", Runtime(seed=seed)).encode_text(["a cat"])

    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    first = embed(0)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(embed(0), first)
    assert not torch.equal(embed(1), first)
    record = load_clip("tiny-vit", "random", Runtime()).checkpoint
    assert (record.name, record.sha256) == ("tiny-vit, random weights", None)


@pytest.fixture
def tag(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tag for the tiny transformer, trained with QuickGELU and a mean of its own."""
    entry = tags._pcfg(hf_hub="owner/tiny/", quick_gelu=True, mean=(0.1, 0.2, 0.3))
    monkeypatch.setitem(tags._PRETRAINED, "tiny-vit", {"mine": entry})


@pytest.mark.usefixtures("tag")
def test_a_tag_brings_its_activation_mean_and_record(
    hub_cache: Callable[[str, str], Path],
) -> None:
    torch.manual_seed(1)
    original = open_clip.create_model("tiny-vit", force_quick_gelu=True).eval()
    save_file(original.state_dict(), hub_cache("owner/tiny", "open_clip_model.safetensors"))
    clip = load_clip("tiny-vit", "mine", Runtime())
    assert (clip.interpolation, clip.pool, clip.logit_bias) == ("bicubic", None, None)
    assert isinstance(clip._model.visual.transformer.resblocks[0].mlp.gelu, QuickGELU)
    assert clip.mean == (0.1, 0.2, 0.3)
    assert clip.image_size == 32
    assert clip.checkpoint.name == "owner/tiny"
    assert clip.checkpoint.revision is not None
    assert clip.checkpoint.sha256 is not None
    tokens = open_clip.get_tokenizer("tiny-vit")(["a cat"])
    with torch.inference_mode():
        expected = original.encode_text(tokens, normalize=True)
    torch.testing.assert_close(clip.encode_text(["a cat"]), expected)


def test_a_perception_encoder_is_read_from_its_file(
    hub_cache: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the layout and with the settings of timm/PE-Core-*, whose views are enlarged linearly."""
    half = (0.5, 0.5, 0.5)
    entry = tags._pcfg(hf_hub="owner/pe/", mean=half, std=half, interpolation="bilinear")
    monkeypatch.setitem(tags._PRETRAINED, "tiny-pe", {"meta": entry})
    torch.manual_seed(1)
    original = open_clip.create_model("tiny-pe").eval()
    save_file(original.state_dict(), hub_cache("owner/pe", "open_clip_model.safetensors"))
    clip = load_clip("tiny-pe", "meta", Runtime())
    assert (clip.mean, clip.interpolation, clip.logit_bias) == (half, "bilinear", None)
    assert clip.pool is not None
    images = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        expected = original.visual.trunk.forward_features(images)[:, 1:]
    torch.testing.assert_close(clip.pool.tokens(images).flatten(2).mT, expected)


@pytest.mark.usefixtures("tag")
def test_weights_that_cannot_be_had_name_repository_and_file(
    hub_cache: Callable[[str, str], Path],
) -> None:
    with pytest.raises(UsageError, match=r"hf download owner/tiny open_clip_model\.safetensors"):
        load_clip("tiny-vit", "mine", Runtime())
    with pytest.raises(UsageError, match="--revision v2"):
        load_clip("tiny-vit", "mine@v2", Runtime())


@pytest.mark.parametrize(
    ("architecture", "pretrained", "hint"),
    [
        ("ViT-B-61", "openai", "did you mean 'ViT-B-16'"),
        ("ViT-B-16", "openal", "did you mean 'openai'"),
        ("ViT-B/16", "zzz", "there are: openai, laion400m_e31"),
    ],
)
def test_unknown_names_get_a_suggestion(architecture: str, pretrained: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        load_clip(architecture, pretrained, Runtime())


WORDS = ["[PAD]", "[UNK]", "[SOS]", "a", "cat", "dog", "[EOS]"]


def write_package(root: Path) -> Path:
    """A folder laid out as the packaged weights are, with a tokenizer of its own."""
    folder = root / "toyworld" / "weights" / "clip"
    folder.mkdir(parents=True)
    config = open_clip.get_model_config("tiny-vit")
    config["text_cfg"] |= {"vocab_size": len(WORDS), "hf_tokenizer_name": "word-level"}
    preprocess = {"mean": [0.5] * 3, "std": [0.25] * 3}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess})
    )
    tokenizer = Tokenizer(WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[SOS] $A [EOS]", special_tokens=[("[SOS]", 2), ("[EOS]", 6)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    options = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(options))
    torch.manual_seed(3)
    model = open_clip.CLIP(**config)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def test_the_packaged_model_has_its_own_architecture_and_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_package(tmp_path)
    monkeypatch.setattr(packaged, "files", lambda _: tmp_path)
    clip = load_clip("ViT-B-16", "openai", Runtime(checkpoints="toy"))
    assert clip.checkpoint.name == "toyworld/clip"
    assert (clip.stride, clip.image_size, clip.mean) == (8, 32, (0.5, 0.5, 0.5))
    weights = load_file(folder / "open_clip_model.safetensors")
    assert torch.equal(clip._model.visual.proj, weights["visual.proj"])
    cat, dog, zebra, lion = clip.encode_text(["a cat", "a dog", "a zebra", "a lion"])
    assert torch.equal(zebra, lion)  # words it never saw are one unknown word
    assert not torch.allclose(cat, dog)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_the_image_towers_alone(precision: str) -> None:
    full = load_clip("tiny-vit", "random", Runtime())
    half = load_clip("tiny-vit", "random", Runtime(precision=precision))
    assert torch.equal(half.encode_text(["a cat"]), full.encode_text(["a cat"]))
    images = torch.randn(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    rounded = half.dense_features(images, residual=True).values
    exact = full.dense_features(images, residual=True).values
    assert rounded.dtype == torch.float32
    assert functional.cosine_similarity(rounded, exact, dim=1).min() > 0.999
    assert not torch.equal(rounded, exact)


def counted_texts(clip: module.CLIP) -> list[int]:
    """Sizes of the batches of texts that a CLIP encodes from now on."""
    encode, sizes = clip._model.encode_text, []

    def counting(tokens: torch.Tensor, **options: bool) -> torch.Tensor:
        sizes.append(len(tokens))
        return encode(tokens, **options)

    clip._model.encode_text = counting
    return sizes


TOY = Runtime(checkpoints="toy")
TEMPLATES = ("a {}", "the {}")


def test_embeddings_of_queries_are_computed_once_and_read_ever_after() -> None:
    first, second = load_clip("", "", TOY), load_clip("", "", TOY)
    sizes = counted_texts(first)
    made = first.embed_queries(["ring", "star"], TEMPLATES)
    assert sizes == [4]
    sizes = counted_texts(second)
    read = second.embed_queries(["ring", "star"], TEMPLATES)
    assert sizes == []
    assert torch.equal(read, made)
    assert not read.requires_grad
    second.embed_queries(["star", "ring"], TEMPLATES)
    second.embed_queries(["ring", "star"], TEMPLATES[:1])
    assert sizes == [4, 2]


def test_other_weights_or_another_activation_are_other_embeddings() -> None:
    clip = load_clip("", "", TOY)
    clip.embed_queries(["ring"], TEMPLATES)
    sizes = counted_texts(clip)
    block = clip._model.transformer.resblocks[0].mlp
    gelu, block.gelu = block.gelu, QuickGELU()
    clip.embed_queries(["ring"], TEMPLATES)
    block.gelu = gelu
    clip.embed_queries(["ring"], TEMPLATES)
    clip._model.visual.proj.add_(1)  # no text passes it
    clip.embed_queries(["ring"], TEMPLATES)
    assert sizes == [2]
    block.c_fc.bias[0] += 1e-6  # the record of the checkpoint knows nothing of it
    clip.embed_queries(["ring"], TEMPLATES)
    assert sizes == [2, 2]


def test_random_weights_are_known_by_what_they_are() -> None:
    one, same, other = (load_clip("tiny-vit", "random", Runtime(seed=seed)) for seed in (0, 0, 1))
    found = one.embed_queries(["ring"], TEMPLATES)
    sizes = counted_texts(same)
    assert torch.equal(same.embed_queries(["ring"], TEMPLATES), found)
    assert sizes == []
    assert not torch.equal(other.embed_queries(["ring"], TEMPLATES), found)


def test_a_cache_that_cannot_be_written_costs_time_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OVBENCH_CACHE", str(tmp_path / "file"))
    clip = load_clip("", "", TOY)
    assert clip.embed_queries(["ring"], TEMPLATES).shape[0] == 1


def test_embedding_many_texts_shows_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, watcher: Watcher
) -> None:
    monkeypatch.setattr(module, "TEXT_BATCH", 2)
    load_clip("", "", TOY).encode_text(["ring", "star", "disc"])
    (work,) = watcher.works
    assert (work.title, work.total, work.done) == ("texts embedded", 3, 3)


def test_templates_may_count_by_their_length() -> None:
    """TCL's mean is over embeddings that were not normalised before."""
    clip = load_clip("tiny-vit", "random", Runtime())
    prompts = ("a {}.", "many {}s in a row")
    raw = clip._model.encode_text(clip._tokenizer([p.format("cat") for p in prompts]))
    expected = functional.normalize(raw.mean(dim=0), dim=0)
    (found,) = clip.embed_queries(["cat"], prompts, unit=False)
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, clip.embed_queries(["cat"], prompts)[0], atol=1e-7)
