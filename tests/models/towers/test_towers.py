"""SimSeg's and CLIPpy's towers: authors' files, words, and what leaves them, step by step."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tiny_towers
import torch
from timm.models.vision_transformer import VisionTransformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn
from torch.nn import functional

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.models.towers.clippy import CLIPPY, load_clippy
from ovbench.models.towers.model import Towers, TowersNetwork
from ovbench.models.towers.release import Release
from ovbench.models.towers.simseg import SIMSEG, load_simseg
from ovbench.models.towers.words import arbitrary_words, load_words

Load = Callable[[str, Runtime], Towers]
Put = Callable[[str, object], Path]
SIMSEG_FILE, CLIPPY_FILE = "simseg.vit-b.pth", "clippy_5k.pt"
BOTH = [
    pytest.param(load_simseg, tiny_towers.SIMSEG, "simseg_vitb", SIMSEG_FILE, id="simseg"),
    pytest.param(load_clippy, tiny_towers.CLIPPY, "clippy_5k", CLIPPY_FILE, id="clippy"),
]
TOKENIZERS = ("google-bert/bert-base-uncased", "sentence-transformers/sentence-t5-base")


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_towers.use(monkeypatch)


@pytest.fixture
def put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub_cache: Callable[[str, str], Path]
) -> Put:
    """Save what an authors' file holds; the tokenizers are in the hub's cache."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for repository in TOKENIZERS:
        tokenizer().save(str(hub_cache(repository, "tokenizer.json")))

    def save(name: str, content: object) -> Path:
        path = tmp_path / "torch" / "hub" / "checkpoints" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, path)
        return path

    return save


def tokenizer() -> Tokenizer:
    """Of six words; a text begins with [C] and ends with [S], as BERT's do."""
    known = {"[P]": 0, "[U]": 1, "[C]": 2, "[S]": 3, "a": 4, "cat": 5, "photo": 6, "of": 7}
    made = Tokenizer(models.WordLevel(known, unk_token="[U]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(
        single="[C] $A [S]", special_tokens=[("[C]", 2), ("[S]", 3)]
    )
    made.enable_padding(length=30)
    return made


def their_name(name: str, release: Release) -> str:
    """The other way round: from a network's name to its authors'."""
    part, _, rest = name.partition(".")
    if part == "image":
        for ours, theirs in (
            ("embeddings.cls_token", "cls_token"),
            ("embeddings.position_embeddings", "pos_embed"),
            ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
            ("layers.", "blocks."),
            ("layernorm_before", "norm1"),
            ("layernorm_after", "norm2"),
            ("attention.o_proj", "attn.proj"),
            ("layernorm.", "norm."),
        ):
            rest = rest.replace(ours, theirs)
    return release.parts[part] + rest


def by_the_authors(own: dict[str, Tensor], release: Release) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, weight in own.items():
        if facet := re.fullmatch(r"image\.layers\.(\d+)\.attention\.([qkv])_proj\.(.*)", name):
            layer, letter, kind = facet.groups()
            if letter == "q":
                at = f"image.layers.{layer}.attention"
                joint = torch.cat([own[f"{at}.{f}_proj.{kind}"] for f in "qkv"])
                found[f"{release.parts['image']}blocks.{layer}.attn.qkv.{kind}"] = joint
        else:
            found[their_name(name, release)] = weight
    return found


def random_weights(release: Release) -> dict[str, Tensor]:
    network = TowersNetwork(tiny_towers.tiny_vit(), release.text(), release.joint)
    own = {name: torch.randn(w.shape) for name, w in network.state_dict().items()}
    if "text.shared.weight" in own:  # T5 has its words under two names
        own["text.encoder.embed_tokens.weight"] = own["text.shared.weight"]
    return own


@pytest.mark.parametrize(("load", "release", "name", "file"), BOTH)
def test_the_authors_file_is_read_by_name(
    load: Load, release: Release, name: str, file: str, put: Put
) -> None:
    own = random_weights(release)
    theirs = by_the_authors(own, release)
    places = {"simseg": "image_encoder.model.model.blocks.1.attn.qkv.weight",
              "clippy": "visual.trunk.blocks.1.attn.qkv.weight"}  # fmt: skip
    assert places[release.role] in theirs
    beside = {name: torch.zeros(()) for name in release.beside}
    # As trainings save: several processes, and the version of torch, which is no plain text.
    all_of_it = {f"module.{name}": weight for name, weight in {**theirs, **beside}.items()}
    put(file, {"state_dict": all_of_it, "meta": {"torch_version": torch.__version__}})
    found = load(name, Runtime())
    read = found._network.state_dict()
    assert read.keys() == own.keys()
    assert all(torch.equal(read[name], own[name]) for name in own)
    assert found.patch == 8
    assert found.checkpoints[0].name == file
    assert found.checkpoints[0].sha256


@pytest.mark.parametrize(("load", "release", "name", "file"), BOTH)
def test_weights_that_lack_or_are_too_many_are_named(
    load: Load, release: Release, name: str, file: str, put: Put
) -> None:
    theirs = by_the_authors(random_weights(release), release)
    del theirs[f"{release.parts['image']}norm.bias"]
    theirs[f"{release.parts['image']}head.weight"] = torch.zeros(1)
    theirs["model_ema.decay"] = torch.zeros(1)
    theirs[f"{release.parts['text_projection']}weight"] = torch.zeros(3, 3)
    put(file, {"state_dict": theirs})
    said = (
        r"lacks image\.layernorm\.bias, and has in addition image\.head\.weight, "
        r"model_ema\.decay, and has in other shapes text_projection\.weight$"
    )
    with pytest.raises(UsageError, match=said):
        load(name, Runtime())


def test_a_file_of_something_else_is_one_line(put: Put) -> None:
    put(CLIPPY_FILE, {"state_dict": {"weight": torch.zeros(2)}})
    with pytest.raises(UsageError, match=r"lacks .* and \d+ more, and has in addition weight$"):
        load_clippy("clippy_5k", Runtime())


@torch.inference_mode()
def test_places_are_those_of_timm_and_positions_are_resized_by_bicubic_interpolation(
    put: Put,
) -> None:
    torch.manual_seed(0)
    norm = partial(nn.LayerNorm, eps=1e-6)
    tower = VisionTransformer(32, 8, num_classes=0, embed_dim=64, depth=2, num_heads=1,
                              norm_layer=norm).eval()  # fmt: skip
    release = tiny_towers.SIMSEG
    own = random_weights(release)
    theirs = {n: w for n, w in by_the_authors(own, release).items() if "image_encoder" not in n}
    theirs |= {f"{release.parts['image']}{n}": w for n, w in tower.state_dict().items()}
    put(SIMSEG_FILE, {"state_dict": theirs})
    found = load_simseg("simseg_vitb", Runtime()).places(images := torch.randn(2, 3, 48, 48))
    grid = tower.pos_embed[:, 1:].reshape(1, 4, 4, 64).permute(0, 3, 1, 2)
    larger = functional.interpolate(grid, (6, 6), mode="bicubic").flatten(2).mT
    tokens = tower.patch_embed.proj(images).flatten(2).mT
    tokens = torch.cat([tower.cls_token.expand(2, -1, -1), tokens], dim=1)
    tokens = tokens + torch.cat([tower.pos_embed[:, :1], larger], dim=1)
    tokens = tower.norm(tower.blocks(tokens))[:, 1:] @ own["image_projection.weight"].T
    torch.testing.assert_close(found, tokens.mT.reshape(2, 20, 6, 6), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("load", "release", "name", "file"), BOTH)
@torch.inference_mode()
def test_texts_are_pooled_over_their_own_words(
    load: Load, release: Release, name: str, file: str, put: Put
) -> None:
    own = random_weights(release)
    put(file, {"state_dict": by_the_authors(own, release)})
    model = load(name, Runtime())
    found = model.embed_queries(["cat", "photo of a cat"], ["a {}", "a photo of a {}"])
    ids = {"a": 4, "cat": 5, "photo": 6, "of": 7}
    expected = []
    for query in ("cat", "photo of a cat"):
        total = torch.zeros(release.joint or 64)
        for template in ("a {}", "a photo of a {}"):
            words = [2, *(ids[word] for word in template.format(query).split()), 3]
            states = model._network.text(input_ids=torch.tensor([words])).last_hidden_state[0]
            if release.role == "simseg":
                words_projected = [own["text_projection.weight"] @ state for state in states]
                pooled = torch.stack(words_projected).max(dim=0).values
            else:
                pooled = own["text_projection.weight"] @ states.mean(dim=0)
            total += pooled / pooled.norm()
        expected.append(total / total.norm())
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-4, rtol=1e-4)


def test_a_text_is_cut_off_with_its_last_mark(put: Put) -> None:
    words = load_words("bert_base_uncased", 5, Runtime())
    tokens, there = words(["a cat of a cat of a cat", "cat", "dog"])
    assert tokens.tolist() == [[2, 4, 5, 7, 3], [2, 5, 3, 0, 0], [2, 1, 3, 0, 0]]
    assert there.tolist() == [[True] * 5, [True] * 3 + [False] * 2, [True] * 3 + [False] * 2]


def test_a_tokenizer_that_is_damaged_is_one_line(
    put: Put, hub_cache: Callable[[str, str], Path]
) -> None:
    hub_cache("google-bert/bert-base-uncased", "tokenizer.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be loaded") as caught:
        load_words("bert_base_uncased", 25, Runtime())
    assert "\n" not in str(caught.value)


def test_arbitrary_words_are_the_same_for_the_same_word() -> None:
    tokens, there = arbitrary_words(60)(["a cat", "a red cat"])
    assert there.tolist() == [[True] * 3 + [False], [True] * 4]
    assert tokens[0, 0] == tokens[1, 0]
    assert tokens[0, 1] == tokens[1, 2]
    assert int(tokens.max()) < 60
    assert ((tokens == 0) == ~there).all()


@pytest.mark.parametrize(("load", "release", "name", "file"), BOTH)
def test_random_weights_are_the_seeds(load: Load, release: Release, name: str, file: str) -> None:
    made = [load("random", Runtime(seed=seed)) for seed in (1, 1, 2)]
    assert made[0].checkpoints[0].sha256 is None
    one, same, other = (m._network.text_projection.weight for m in made)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(("load", "release", "name", "file"), BOTH)
def test_half_precision_is_of_places_alone(
    load: Load, release: Release, name: str, file: str
) -> None:
    images, half = torch.randn(1, 3, 32, 32), Runtime(precision="bf16")
    found, exact = load("random", half), load("random", Runtime())
    places, texts = found.places(images), found.embed_queries(["cat"], ["a {}"])
    assert places.dtype == torch.float32
    assert not torch.equal(places, exact.places(images))
    torch.testing.assert_close(places, exact.places(images), atol=0.1, rtol=0.1)
    assert torch.equal(texts, exact.embed_queries(["cat"], ["a {}"]))


@pytest.mark.parametrize(("load", "release", "joint"), [(load_simseg, SIMSEG, 64),
                                                        (load_clippy, CLIPPY, 128)])  # fmt: skip
@torch.inference_mode()
def test_a_miniature_knows_its_words(
    load: Load, release: Release, joint: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = release.role
    monkeypatch.setattr(f"ovbench.models.towers.{role}.{role.upper()}", release)
    model = load("any", Runtime(checkpoints="toy"))
    assert (model.patch, model.checkpoints[0].role) == (8, role)
    star, water = model.embed_queries(["star", "water"], ["a photo of a {}."])
    assert float(star @ water) < 0.9
    assert model.places(torch.randn(1, 3, 96, 120)).shape == (1, joint, 12, 15)


def test_what_to_fetch_without_a_network(
    put: Put, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    wanted = r"curl .*hub/checkpoints/clippy_5k\.pt https://github\.com/kahnchana/clippy/.*\.pt`"
    with pytest.raises(UsageError, match=wanted):
        load_clippy("clippy_5k", Runtime())
    wanted = (
        r"download simseg\.vit-b\.pth from https://drive\.google\.com/\S* and put it into "
        r".*points, or use --checkpoints toy$"
    )
    with pytest.raises(UsageError, match=wanted):
        load_simseg("simseg_vitb", Runtime())
    own: Any = by_the_authors(random_weights(tiny_towers.CLIPPY), tiny_towers.CLIPPY)
    put(CLIPPY_FILE, {"state_dict": own})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    wanted = r"`hf download sentence-transformers/sentence-t5-base tokenizer\.json` .* its cache$"
    with pytest.raises(UsageError, match=wanted):
        load_clippy("clippy_5k", Runtime())
