"""OVSegmentor's loader: the authors' file and BERT's words, random weights; and its texts."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_ovsegmentor import TEXT, VISION, tiny_ovsegmentor
from tokenizers import BertWordPieceTokenizer
from torch import Tensor
from torch.nn import functional

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.models.grouping import ovsegmentor
from ovbench.models.grouping.ovsegmentor import (
    OVSegmentor,
    OVSegmentorNetwork,
    load_ovsegmentor,
)
from ovbench.models.towers.words import arbitrary_words

MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = {w: i for i, w in enumerate((*MARKS, "a", "cat", "photo", "of", "dog", "##s", "."))}
HUB = "google-bert/bert-base-uncased"
THEIRS = (
    ("vision_model.embeddings.patch_embeddings.projection", "patch_embed.proj"),
    ("vision_model.embeddings.position_embeddings", "pos_embed"),
    ("vision_model.encoder.stages", "layers"),
    ("vision_model.layernorm", "norm"),
    ("self_attn.out_proj", "attn.proj"),
    ("pre_assign_attn.attn.out_proj", "pre_assign_attn.attn.proj"),
)


def their_name(own: str) -> str:
    if own.startswith("text_model."):
        return f"text_encoder.transformer.{own.removeprefix('text_model.')}"
    if projector := re.fullmatch(r"(visual|text)_projection\.(\d)\.(.*)", own):
        tower, layer, kind = projector.groups()
        whose = {"visual": "img", "text": "text"}[tower]
        return f"{whose}_projector.linear_{'out' if layer == '3' else f'hidden.{layer}'}.{kind}"
    if not own.startswith("vision_model."):
        return own
    name = re.sub(r"(stages\.\d+)\.layers\.(\d+)\.layer_norm", r"\1.blocks.\2.norm", own)
    name = re.sub(r"(stages\.\d+)\.layers\.", r"\1.blocks.", name)
    name = re.sub(r"pre_assign_attn\.layer_norm", "pre_assign_attn.norm", name)
    for ours, theirs in THEIRS:
        name = name.replace(ours, theirs)
    return f"img_encoder.{name}"


def by_the_authors(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The other way round, name by name."""
    found: dict[str, Tensor] = {}
    for own, weight in weights.items():
        if facet := re.fullmatch(r"(.*\.layers\.\d+\.self_attn)\.([qkv])_proj\.(.*)", own):
            layer, letter, kind = facet.groups()
            if letter == "q":
                joint = torch.cat([weights[f"{layer}.{f}_proj.{kind}"] for f in "qkv"])
                name = their_name(f"{layer}.qkv.{kind}").replace("self_attn", "attn")
                found[name] = joint
        elif "_projection." in own and weight.ndim == 2:
            found[their_name(own)] = weight[..., None]
        elif own.endswith("position_embeddings") and own.startswith("vision"):
            found[their_name(own)] = weight[0]
        else:
            found[their_name(own)] = weight
    return found


@pytest.fixture
def put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub_cache: Callable[[str, str], Path]
) -> Callable[[object], None]:
    """Save what the authors' file holds, and BERT's words; a tiny network is the published one."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(ovsegmentor, "_new", tiny_ovsegmentor)
    BertWordPieceTokenizer(WORDS).save(str(hub_cache(HUB, "tokenizer.json")))

    def save(content: object) -> None:
        path = tmp_path / "hub" / "checkpoints" / "ovsegmentor_vitb_bert.pth"
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, path)

    return save


def test_the_authors_file_is_read_by_name(put: Callable[[object], None]) -> None:
    own = {
        name: torch.rand(w.shape) if w.ndim else w
        for name, w in tiny_ovsegmentor().state_dict().items()
    }
    theirs = by_the_authors(own)
    assert theirs["img_encoder.pos_embed"].shape == (16, 24)
    assert "img_encoder.layers.1.blocks.0.attn.qkv.weight" in theirs
    assert "img_encoder.layers.0.downsample.pre_assign_attn.attn.proj.bias" in theirs
    assert "text_encoder.transformer.encoder.layer.1.attention.self.query.weight" in theirs
    assert "text_projector.linear_hidden.1.running_mean" in theirs
    training = (
        "img_encoder_momentum.pos_embed", "multimodal_groupingblock.blocks.0.norm_x.bias",
        "bridge_projector.linear_out.bias", "align_proj_img.bias", "logit_scale_mask",
        "text_encoder.transformer.embeddings.position_ids",
        "text_encoder.transformer.pooler.dense.bias",
    )  # fmt: skip
    model = {**theirs, **dict.fromkeys(training, torch.zeros(1))}
    put({"model": model, "optimizer": {"state": {}}, "config": Namespace(epochs=10), "epoch": 9})
    found = load_ovsegmentor("ovsegmentor_vitb_bert", Runtime())
    read = found._model.state_dict()
    assert read.keys() == own.keys()
    assert all(torch.equal(read[name], own[name]) for name in own)
    assert found.checkpoints[0].name == "ovsegmentor_vitb_bert.pth"
    assert found.checkpoints[0].sha256


def test_weights_that_lack_or_are_too_many_are_named(put: Callable[[object], None]) -> None:
    theirs = by_the_authors(tiny_ovsegmentor().state_dict())
    del theirs["img_encoder.norm.bias"]
    theirs["img_encoder.patch_embed.norm.bias"] = torch.zeros(24)
    put({"model": theirs})
    said = (
        r"lacks vision_model\.layernorm\.bias, and has in addition "
        r"vision_model\.embeddings\.layernorm\.bias$"
    )
    with pytest.raises(UsageError, match=said):
        load_ovsegmentor("ovsegmentor_vitb_bert", Runtime())


def test_random_weights_are_the_seeds_and_read_any_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ovsegmentor, "_new", lambda: OVSegmentorNetwork(VISION, TEXT))
    made = [load_ovsegmentor("random", Runtime(seed=seed)) for seed in (1, 1, 2)]
    assert made[0].checkpoints[0].sha256 is None
    one, same, other = (m.embed_queries(["cat", "okapi 7"], ["a {}."]) for m in made)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert not torch.equal(one[0], one[1])


@pytest.mark.parametrize("name", ["ovsegmentor_vitb_bert", "random"])
def test_there_is_no_miniature(name: str) -> None:
    with pytest.raises(UsageError, match=r"no miniature of ovsegmentor; .* --checkpoints real$"):
        load_ovsegmentor(name, Runtime(checkpoints="toy"))


def test_what_to_fetch_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub_cache: Callable[[str, str], Path]
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    said = r"ovsegmentor_vitb_bert\.pth .* from https://drive\.google\.com/\S+ and put it into "
    with pytest.raises(UsageError, match=said):
        load_ovsegmentor("ovsegmentor_vitb_bert", Runtime())
    path = tmp_path / "hub" / "checkpoints" / "ovsegmentor_vitb_bert.pth"
    path.parent.mkdir(parents=True)
    torch.save({"model": {}}, path)
    with pytest.raises(UsageError, match=rf"hf download {HUB} tokenizer\.json` "):
        load_ovsegmentor("ovsegmentor_vitb_bert", Runtime())


@torch.inference_mode()
def test_a_text_is_its_first_token_whatever_stands_beside_it(
    put: Callable[[object], None],
) -> None:
    network = tiny_ovsegmentor()
    put({"model": by_the_authors(network.state_dict())})
    model = load_ovsegmentor("ovsegmentor_vitb_bert", Runtime())
    network.eval()
    found = model.embed_queries(["Cat", "dogs", "zebra"], ["a photo of a {}.", "{}"])
    for query, vector in zip(("cat", "dog ##s", "[UNK]"), found, strict=True):
        projected = []
        for text in (f"[CLS] a photo of a {query} . [SEP]", f"[CLS] {query} [SEP]"):
            tokens = torch.tensor([[WORDS[token] for token in text.split()]])
            state = network.text_model(input_ids=tokens).last_hidden_state[:, 0]
            projected.append(network.text_projection(state)[0])
        expected = functional.normalize(torch.stack(projected).mean(0), dim=0)
        torch.testing.assert_close(vector, expected, rtol=1e-4, atol=1e-6)


@torch.inference_mode()
def test_any_size_is_taken() -> None:
    model = OVSegmentor(tiny_ovsegmentor(), arbitrary_words(79), (), Runtime())
    for size in ((32, 32), (16, 44), (41, 70)):
        found = model.groups(torch.randn(2, 3, *size))
        assert found.shares.shape == (2, 4, size[0] // 8, size[1] // 8)
        torch.testing.assert_close(found.shares.sum(1), torch.ones(2, size[0] // 8, size[1] // 8))
        torch.testing.assert_close(found.vectors.norm(dim=-1), torch.ones(2, 4))
    assert model.logit_scale == pytest.approx(1 / 0.07)
    assert model.patch == 8
