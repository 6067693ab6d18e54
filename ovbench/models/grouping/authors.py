"""GroupViT's weights by the names that its authors gave them, and by those of transformers."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from ovbench.models.weights.authors import Renaming, renamed

# In turn, of a tensor's whole name.
_RENAMED: Renaming = (
    (r"^img_encoder\.layers\.", "vision_model.encoder.stages."),
    (r"^img_encoder\.patch_embed\.proj\.", "vision_model.embeddings.patch_embeddings.projection."),
    (r"^img_encoder\.patch_embed\.norm\.", "vision_model.embeddings.layernorm."),
    (r"^img_encoder\.pos_embed$", "vision_model.embeddings.position_embeddings"),
    (r"^img_encoder\.norm\.", "vision_model.layernorm."),
    (r"\.blocks\.", ".layers."),
    (r"(\.layers\.\d+)\.norm(\d)\.", r"\1.layer_norm\2."),
    (r"(\.layers\.\d+)\.attn\.proj\.", r"\1.self_attn.out_proj."),
    (r"\.pre_assign_attn\.attn\.proj\.", ".pre_assign_attn.attn.out_proj."),
    (r"^text_encoder\.token_embedding\.", "text_model.embeddings.token_embedding."),
    (r"^text_encoder\.positional_embedding$", "text_model.embeddings.position_embedding.weight"),
    (r"^text_encoder\.ln_final\.", "text_model.final_layer_norm."),
    (r"^text_encoder\.transformer\.resblocks\.", "text_model.encoder.layers."),
    (r"(\.layers\.\d+)\.ln_(\d)\.", r"\1.layer_norm\2."),
    (r"(\.layers\.\d+)\.attn\.out_proj\.", r"\1.self_attn.out_proj."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
    (r"^img_projector\.", "visual_projection."),
    (r"^text_projector\.", "text_projection."),
    (r"_projection\.linear_hidden\.", "_projection."),
    (r"_projection\.linear_out\.", "_projection.3."),
)
_JOINT = re.compile(r"(.*\.layers\.\d+)\.attn\.(?:qkv\.|in_proj_)(weight|bias)")


def stock_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights by the names of transformers' ``GroupViTModel``.

    Queries, keys and values, one matrix with the authors, are three; a convolution over one place
    is a matrix. What has no place in that model keeps its name.
    """
    found: dict[str, Tensor] = {}
    for theirs, weight in weights.items():
        name = renamed(theirs, _RENAMED)
        if joint := _JOINT.fullmatch(name):
            layer, kind = joint.groups()
            for facet, part in zip("qkv", weight.chunk(3), strict=True):
                found[f"{layer}.self_attn.{facet}_proj.{kind}"] = part
        elif "_projection." in name and weight.ndim == 3:
            found[name] = weight.squeeze(-1)
        else:
            found[name] = weight
    return found
