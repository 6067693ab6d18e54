"""A GroupViT that starts from a small CLIP and reads pictures and texts almost as that one does.

What both have is copied. Where GroupViT differs, weights are chosen or measured on scenes so that
CLIP's values pass through: the last attention's values and output layer become the grouping's, and
the stage behind it begins as the identity.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ovbench.models.clip.model import CLIP
from ovbench.models.clip.trunk import embed
from ovbench.models.grouping.groupvit import grouped
from ovbench.models.pixels.inputs import IMAGENET_MEAN, IMAGENET_STD

SPREAD = 0.5
"""Deviation of the noise that tells group tokens apart, in deviations of CLIP's class token."""

LOGIT_STD = 2.0
"""Deviation of assignment logits at the start: with less, Gumbel noise alone assigns."""

GROUP_SHARE = 0.3
"""Size of what a group was before it gathers patches, in sizes of what it gathers."""


@torch.no_grad()
def start_from_clip(model: Any, clip: CLIP, text: Any, pixels: Tensor) -> None:
    """Set a ``GroupViTModel``'s weights, in place.

    Args:
        model: of CLIP's widths; its blocks are as many as CLIP's, the last one alone in its stage.
        clip: with a plain vision transformer.
        text: CLIP's text tower, a module that has its text weights by open_clip's names.
        pixels: ``(N, 3, H, W)`` scenes of the training size, normalised with ImageNet's mean and
            deviation.
    """
    visual, vision = clip.visual, model.vision_model
    blocks, (grouping, last) = visual.transformer.resblocks, vision.encoder.stages
    _copy_text(text, model)
    _copy_patches(clip, vision.embeddings, pixels)
    for layer, block in zip([*grouping.layers, *last.layers], blocks, strict=True):
        _copy_block(block, layer)
    for layer in last.layers:
        for added in (layer.self_attn.out_proj, layer.mlp.fc2):
            nn.init.zeros_(added.weight)
            nn.init.zeros_(added.bias)
    vision.layernorm.load_state_dict(visual.ln_post.state_dict())
    token = visual.ln_pre(visual.class_embedding + visual.positional_embedding[0])
    noise = torch.randn(grouping.group_token.shape).to(token)
    grouping.group_token.copy_(token + SPREAD * token.std() * noise)
    _copy_values(blocks[-1], grouping.downsample)
    _pass_through(model.visual_projection, visual.proj)
    _pass_through(model.text_projection, text.text_projection)
    model.logit_scale.copy_(text.logit_scale)
    patches = vision.embeddings(pixels)
    _calibrate_grouping(grouping, patches)
    _calibrate(model.visual_projection, lambda: grouped(model, patches))


def calibrate_text(model: Any, tokens: Tensor) -> None:
    """Let the normalisation in the texts' projection begin as the identity on captions."""
    with torch.no_grad():
        _calibrate(model.text_projection, lambda: model.get_text_features(tokens))


def _copy_block(block: Any, layer: Any) -> None:
    """From one of open_clip's to one of transformers'."""
    attention, own = block.attn, layer.self_attn
    weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    for name, weight, bias in zip("qkv", weights, biases, strict=True):
        projection = getattr(own, f"{name}_proj")
        projection.weight.copy_(weight)
        projection.bias.copy_(bias)
    for mine, its in (
        (own.out_proj, attention.out_proj),
        (layer.layer_norm1, block.ln_1),
        (layer.layer_norm2, block.ln_2),
        (layer.mlp.fc1, block.mlp.c_fc),
        (layer.mlp.fc2, block.mlp.c_proj),
    ):
        mine.load_state_dict(its.state_dict())


def _copy_text(text: Any, model: Any) -> None:
    embeddings = model.text_model.embeddings
    embeddings.token_embedding.load_state_dict(text.token_embedding.state_dict())
    embeddings.position_embedding.weight.copy_(text.positional_embedding)
    for layer, block in zip(
        model.text_model.encoder.layers, text.transformer.resblocks, strict=True
    ):
        _copy_block(block, layer)
    model.text_model.final_layer_norm.load_state_dict(text.ln_final.state_dict())


def _copy_patches(clip: CLIP, embeddings: Any, pixels: Tensor) -> None:
    """Patches and positions, which GroupViT adds behind the normalisation and CLIP before it."""
    visual, projection = clip.visual, embeddings.patch_embeddings.projection
    mean, std, its_mean, its_std = (
        torch.tensor(values, device=pixels.device)[:, None, None]
        for values in (IMAGENET_MEAN, IMAGENET_STD, clip.mean, clip.std)
    )
    kernel = visual.conv1.weight
    projection.weight.copy_(kernel * (std / its_std))
    projection.bias.copy_((kernel * ((mean - its_mean) / its_std)).sum(dim=(1, 2, 3)))
    embeddings.layernorm.load_state_dict(visual.ln_pre.state_dict())
    theirs, _ = embed(visual, (pixels * std + mean - its_mean) / its_std)
    own = embeddings.layernorm(embeddings.patch_embeddings(pixels))
    embeddings.position_embeddings.copy_((theirs[:, 1:] - own).mean(dim=0, keepdim=True))


def _copy_values(block: Any, grouping: Any) -> None:
    """What groups gather is what CLIP's last attention would, patch by patch."""
    assign = grouping.assign
    assign.v_proj.weight.copy_(block.attn.in_proj_weight.chunk(3)[2])
    assign.v_proj.bias.copy_(block.attn.in_proj_bias.chunk(3)[2])
    assign.proj.load_state_dict(block.attn.out_proj.state_dict())
    grouping.norm_x.load_state_dict(block.ln_1.state_dict())
    grouping.norm_tokens.load_state_dict(block.ln_1.state_dict())
    nn.init.zeros_(grouping.mlp_channels.fc2.weight)
    nn.init.zeros_(grouping.mlp_channels.fc2.bias)
    for projection in (assign.q_proj, assign.k_proj):
        nn.init.orthogonal_(projection.weight)
        nn.init.zeros_(projection.bias)


def _pass_through(projection: Any, matrix: Tensor) -> None:
    """``x @ matrix``, as the difference of what is positive of it and what is negative."""
    first, _, _, second = projection
    half = matrix.shape[1]
    one = torch.eye(half, device=matrix.device)
    for layer, weight in (
        (first, torch.cat([matrix.T, -matrix.T])),
        (second, torch.cat([one, -one], dim=1)),
    ):
        layer.weight.copy_(weight)
        nn.init.zeros_(layer.bias)


def _calibrate_grouping(stage: Any, patches: Tensor) -> None:
    """Scale groups against what they gather, then keys so that logits have their deviation."""
    grouping = stage.downsample
    seen: dict[str, Tensor] = {}
    assign, norm = grouping.assign, grouping.pre_assign_attn.norm_post
    hook = assign.register_forward_hook(
        lambda _, inputs, output: seen.update(query=inputs[0], key=inputs[1], out=output[0].clone())
    )
    stage(patches)
    scale = GROUP_SHARE * seen["out"].norm(dim=-1).mean() / seen["query"].norm(dim=-1).mean()
    norm.weight.mul_(scale)
    stage(patches)
    hook.remove()
    query, key = assign.q_proj(seen["query"]), assign.k_proj(seen["key"])
    logits = query @ key.mT * assign.scale
    # what all groups have in common assigns nothing
    apart = (logits - logits.mean(dim=1, keepdim=True)).std()
    assign.k_proj.weight.mul_(LOGIT_STD / apart)


def _calibrate(projection: Any, run: Any) -> None:
    """Make the normalisation in a projection the identity on what ``run`` lets through it."""
    norm = projection[1]
    seen: list[Tensor] = []
    hook = norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    run()
    hook.remove()
    found = torch.cat(seen)
    mean, variance = found.mean(dim=0), found.var(dim=0)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(mean)
