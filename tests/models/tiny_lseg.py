"""An LSeg of a size at which tests are fast, and its weights by its authors' names."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from ovbench.models.pixelwise.neck import Neck, Sizes

SIZES = Sizes(width=24, channels=(8, 12, 16, 16), fused=16, joint=32)


def tiny_lseg() -> nn.ModuleDict:
    """Four blocks and patches of 16 pixels; batches that normalise it were seen."""
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=SIZES.width, num_hidden_layers=4, num_attention_heads=2,
        intermediate_size=48, image_size=48, patch_size=16, layer_norm_eps=1e-6,
    )  # fmt: skip
    encoder = ViTModel(config, add_pooling_layer=False)
    network = nn.ModuleDict({"encoder": encoder, "neck": Neck(SIZES)})
    for name, weight in network.state_dict().items():
        if name.endswith("running_mean"):
            nn.init.normal_(weight, std=0.1)
        if name.endswith("running_var"):
            nn.init.uniform_(weight, 0.5, 1.5)
    nn.init.normal_(encoder.embeddings.position_embeddings, std=0.5)
    nn.init.normal_(encoder.embeddings.cls_token)
    return network


def by_the_authors(own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights by the names of the released code."""
    found: dict[str, Tensor] = {}
    for name, weight in own.items():
        if facet := re.fullmatch(r"(encoder\.layers\.\d+\.attention\.)q_proj\.(\w+)", name):
            home, kind = facet.groups()
            parts = [own[f"{home}{one}_proj.{kind}"] for one in "qkv"]
            found[f"{_their_name(home)}qkv.{kind}"] = torch.cat(parts)
        elif not re.search(r"attention\.[kv]_proj", name):
            found[_their_name(name)] = weight
    return found


def _their_name(name: str) -> str:
    part, _, rest = name.partition(".")
    if part == "encoder":
        home = "net.pretrained.model."
        for ours, theirs in (
            ("embeddings.cls_token", "cls_token"),
            ("embeddings.position_embeddings", "pos_embed"),
            ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
            ("layers.", "blocks."),
            ("layernorm_before", "norm1"),
            ("layernorm_after", "norm2"),
            ("layernorm", "norm"),
            ("attention.o_proj", "attn.proj"),
            ("attention.", "attn."),
        ):
            rest = rest.replace(ours, theirs)
        return f"{home}{rest}"
    if rest.startswith("to_text"):
        return f"net.scratch.head1.{rest.partition('.')[2]}"
    _, level, place, kind = rest.split(".", 3)
    n = int(level) + 1
    return {
        "readout": f"net.pretrained.act_postprocess{n}.0.project.0.{kind}",
        "project": f"net.pretrained.act_postprocess{n}.3.{kind}",
        "resize": f"net.pretrained.act_postprocess{n}.4.{kind}",
        "narrow": f"net.scratch.layer{n}_rn.{kind}",
        "own": f"net.scratch.refinenet{n}.resConfUnit1.{kind}",
        "joined": f"net.scratch.refinenet{n}.resConfUnit2.{kind}",
        "out": f"net.scratch.refinenet{n}.out_conv.{kind}",
    }[place]
