"""GroupViT's loaders: the hub's folder, the authors' file, random weights."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import GroupViTConfig, GroupViTModel

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.models.grouping import groupvit
from ovbench.models.grouping.groupvit import GroupViT, load_folder, load_groupvit

FILE = "group_vit_gcc_yfcc_30e-879422e0.pth"


def tiny() -> GroupViTModel:
    """Three stages like the published one, with a text tower that knows CLIP's words."""
    vision = {
        "hidden_size": 24, "intermediate_size": 48, "depths": [2, 1, 1], "num_hidden_layers": 4,
        "num_group_tokens": [5, 3, 0], "num_output_groups": [5, 3, 3], "num_attention_heads": 2,
        "image_size": 32, "patch_size": 8,
    }  # fmt: skip
    text = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 2}  # fmt: skip
    config = GroupViTConfig(
        text_config=text, vision_config=vision, projection_dim=12, projection_intermediate_dim=20
    )
    torch.manual_seed(0)
    model = GroupViTModel(config)
    for weight in model.state_dict().values():  # biases and counts start at 0, tokens too
        weight.copy_(torch.randn(weight.shape).abs())
    return model


IN_VISION = (
    ("vision_model.", "img_encoder."),
    ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
    ("embeddings.position_embeddings", "pos_embed"),
    ("embeddings.layernorm", "patch_embed.norm"),
    ("encoder.stages", "stages"),
    (".layers.", ".blocks."),
    ("stages.", "layers."),
    ("layernorm.", "norm."),
    ("self_attn.out_proj", "attn.proj"),
    ("pre_assign_attn.attn.out_proj", "pre_assign_attn.attn.proj"),
    ("layer_norm", "norm"),
)
IN_TEXT = (
    ("text_model.", "text_encoder."),
    ("embeddings.token_embedding", "token_embedding"),
    ("embeddings.position_embedding.weight", "positional_embedding"),
    ("final_layer_norm", "ln_final"),
    ("layer_norm", "ln_"),
    ("encoder.layers", "transformer.resblocks"),
    ("self_attn", "attn"),
    ("fc1", "c_fc"),
    ("fc2", "c_proj"),
)
IN_PROJECTORS = (
    ("visual_projection", "img_projector"),
    ("text_projection", "text_projector"),
    ("projector.0.", "projector.linear_hidden.0."),
    ("projector.1.", "projector.linear_hidden.1."),
    ("projector.3.", "projector.linear_out."),
)


def their_name(name: str) -> str:
    inside = {"vision_model": IN_VISION, "text_model": IN_TEXT}.get(name.split(".", maxsplit=1)[0])
    for ours, theirs in inside or IN_PROJECTORS:
        name = name.replace(ours, theirs)
    return name


def by_the_authors(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The other way round, layer by layer."""
    found: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if facet := re.fullmatch(r"(.*\.self_attn)\.([qkv])_proj\.(.*)", name):
            layer, letter, kind = facet.groups()
            joint = torch.cat([weights[f"{layer}.{f}_proj.{kind}"] for f in "qkv"])
            place = f"qkv.{kind}" if name.startswith("vision") else f"in_proj_{kind}"
            if letter == "q":
                found[their_name(f"{layer}.{place}").replace("self_attn", "attn")] = joint
        else:
            matrix = "_projection." in name and weight.ndim == 2
            found[their_name(name)] = weight[..., None] if matrix else weight
    return found


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[object], Path]:
    """Save what the authors' file holds; a tiny model stands for the published one."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(groupvit, "_stock", tiny)

    def save(content: object) -> Path:
        path = tmp_path / "hub" / "checkpoints" / FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, path)
        return path

    return save


def test_the_authors_file_is_read_by_name(put: Callable[[object], Path]) -> None:
    own = {name: torch.rand(w.shape) if w.ndim else w for name, w in tiny().state_dict().items()}
    theirs = by_the_authors(own)
    assert "img_encoder.layers.0.downsample.pre_assign_attn.attn.proj.bias" in theirs
    assert "img_encoder.layers.2.blocks.0.attn.qkv.weight" in theirs
    assert "text_encoder.transformer.resblocks.1.mlp.c_fc.bias" in theirs
    assert "text_projector.linear_hidden.1.running_mean" in theirs
    put({"model": theirs, "epoch": 30})
    found = load_groupvit("groupvit_gcc_yfcc_30e", Runtime())
    read = found._model.state_dict()
    assert read.keys() == own.keys()
    assert all(torch.equal(read[name], own[name]) for name in own)
    assert found.checkpoints[0].name == FILE
    assert found.checkpoints[0].sha256


def test_weights_that_lack_or_are_too_many_are_named(put: Callable[[object], Path]) -> None:
    theirs = by_the_authors(tiny().state_dict())
    del theirs["img_encoder.norm.bias"]
    theirs["img_encoder.norm.extra"] = torch.zeros(1)
    theirs["logit_scale"] = torch.zeros(2)
    put({"model": theirs})
    said = (
        r"lacks vision_model.layernorm.bias, and has in addition vision_model.layernorm.extra, "
        r"and has in other shapes logit_scale$"
    )
    with pytest.raises(UsageError, match=said):
        load_groupvit("groupvit_gcc_yfcc_30e", Runtime())


def test_random_weights_are_the_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny().config
    monkeypatch.setattr(groupvit, "_stock", lambda: GroupViTModel(config))
    made = [load_groupvit("random", Runtime(seed=seed)) for seed in (1, 1, 2)]
    assert made[0].checkpoints[0].sha256 is None
    one, same, other = (m._model.visual_projection[0].weight for m in made)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("name", ["groupvit_gcc_yfcc", "random"])
def test_the_miniature_has_words_of_its_own(name: str) -> None:
    model = load_groupvit(name, Runtime(checkpoints="toy"))
    assert (model.patch, model.image_size) == (8, 96)
    star, same, sky = model.embed_queries(("star", "STAR", "sky"), ("a photo of a {}.",))
    torch.testing.assert_close(star, same)
    assert star @ sky < 0.9


def test_other_words_than_clips_need_a_tokenizer(tmp_path: Path) -> None:
    config = tiny().config
    for name, value in (("vocab_size", 40), ("bos_token_id", 38), ("eos_token_id", 39)):
        setattr(config.text_config, name, value)
    GroupViTModel(config).save_pretrained(tmp_path)
    with pytest.raises(UsageError, match=r"has no tokenizer\.json") as caught:
        load_folder(tmp_path, (), Runtime())
    assert "\n" not in str(caught.value)


def test_what_to_fetch_without_a_network(
    hub_cache: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = (
        r"`hf download nvidia/groupvit-gcc-redcaps config.json pytorch_model.bin` "
        r".* its cache, or use --checkpoints toy$"
    )
    with pytest.raises(UsageError, match=wanted):
        load_groupvit("groupvit_gcc_redcaps", Runtime())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    wanted = rf"curl .*releases/download/v1.0.0/{FILE}` .* there, or use --checkpoints toy$"
    with pytest.raises(UsageError, match=wanted):
        load_groupvit("groupvit_gcc_yfcc_30e", Runtime())


def test_a_folder_of_the_hub(
    hub_cache: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny()
    model.save_pretrained(hub_cache("nvidia/groupvit-gcc-yfcc", "config.json").parent)
    found = load_groupvit("groupvit_gcc_yfcc", Runtime())
    assert torch.equal(found._model.logit_scale, model.logit_scale)
    assert found.patch == 8


@torch.inference_mode()
def test_texts_and_groups_are_of_unit_length_and_any_size_is_taken() -> None:
    model = GroupViT(tiny(), (), Runtime())
    texts = model.embed_queries(["cat", "a dog"], ["a photo of a {}.", "a {}"])
    assert texts.shape == (2, 12)
    for size in ((32, 32), (16, 44), (41, 70)):
        found = model.groups(torch.randn(2, 3, *size))
        assert found.shares.shape == (2, 3, size[0] // 8, size[1] // 8)
        torch.testing.assert_close(found.shares.sum(1), torch.ones(2, size[0] // 8, size[1] // 8))
        torch.testing.assert_close(found.vectors.norm(dim=-1), torch.ones(2, 3))
    torch.testing.assert_close(texts.norm(dim=-1), torch.ones(2))
    assert model.logit_scale <= 100
