"""RADIO's released files: the transformer by transformers' names, and the heads that are asked for.

As the loader of github.com/NVlabs/RADIO reads them, hubconf.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ovbench.errors import UsageError
from ovbench.models.radio.heads import Head, head_for, settled
from ovbench.models.weights.authors import Renaming, fitted, renamed, saved_in

_HEADS: Mapping[str, int] = {
    "vit_base_patch16_224": 12,
    "vit_large_patch16_224": 16,
    "vit_huge_patch16_224": 16,
}
"""Heads of attention by timm's names, which the files have in ``args.model``; no shape tells."""

_NAMES: Renaming = (
    (r"^patch_generator\.pos_embed$", "embeddings.position_embedding"),
    (r"^patch_generator\.cls_token\.token$", "embeddings.cls_register_token"),
    (r"^patch_generator\.embedder\.", "embeddings.patch_projection."),
    (r"^blocks\.(\d+)\.attn\.proj\.", r"encoder.layer.\1.attention.o_proj."),
    (r"^blocks\.(\d+)\.ls([12])\.\w+$", r"encoder.layer.\1.layer_scale\2.lambda1"),
    (r"^blocks\.(\d+)\.", r"encoder.layer.\1."),
)
_FUSED = (".attn.qkv.weight", ".attn.qkv.bias")

Teachers = Mapping[str, tuple[str, str]]
"""Heads by the names wanted: the teacher's name or type, and ``_heads`` (of what is said of the
whole picture) or ``_feature_projections`` (of what is said of places)."""


class Released(nn.Module):
    """What a file holds.

    Attributes:
        trunk: transformers' ``RadioModel``.
        norm: behind its last block; an identity in most files.
        heads: by name.
    """

    def __init__(self, trunk: Any, norm: nn.Module, heads: Mapping[str, Head]) -> None:
        super().__init__()
        self.trunk, self.norm, self.heads = trunk, norm, nn.ModuleDict(heads)


def read_radio(path: Path, teachers: Teachers) -> Released:
    """The transformer of a released file and some of its heads, in float32.

    Raises:
        UsageError: a file that is damaged, of another architecture, or without such a head.
    """
    saved = saved_in(path)
    content = saved if isinstance(saved, dict) else {}
    args = getattr(content.get("args"), "__dict__", None) or {}
    averaged = "state_dict_ema" in content
    state = content.get("state_dict_ema" if averaged else "state_dict")
    if not args or not isinstance(state, dict):
        raise UsageError(f"{path}: is none of RADIO's files: it lacks state_dict or args")
    if any(name.startswith("_feature_normalizer.") for name in state):
        raise UsageError(f"{path}: a RADIO whose features are normalised, which is not read here")
    option = args.get("spectral_reparam")
    eps = option.get("eps", 1e-12) if isinstance(option, dict) else 1e-6
    trunk, norm = _transformer(_under("base_model.", state), state, args, eps, path)
    heads = {name: _head(state, args, *teacher, path) for name, teacher in teachers.items()}
    return Released(trunk, norm, heads)


def _transformer(
    named: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    args: Mapping[str, Any],
    eps: float,
    path: Path,
) -> tuple[Any, nn.Module]:
    from transformers import RadioConfig, RadioModel

    weights = {name: one.float() for name, one in settled(named, eps).items()}
    final = {name[5:]: weights.pop(name) for name in list(weights) if name.startswith("norm.")}
    heads = (args.get("model_kwargs") or {}).get("num_heads") or _HEADS.get(args.get("model", ""))
    if heads is None:
        raise UsageError(
            f"{path}: is a RADIO on {args.get('model')!r}; {', '.join(_HEADS)} are read here"
        )
    try:
        places, width = weights["patch_generator.pos_embed"].shape[1:]
        patch = round((weights["patch_generator.embedder.weight"].shape[1] / 3) ** 0.5)
        hidden = len(weights["blocks.0.mlp.fc1.weight"])
    except KeyError as error:
        raise UsageError(f"{path}: is none of RADIO's files: it lacks {error}") from None
    tokens = len(weights["patch_generator.cls_token.token"])
    config = RadioConfig(
        hidden_size=width,
        num_hidden_layers=len({name.split(".")[1] for name in weights if "blocks." in name}),
        num_attention_heads=heads,
        mlp_ratio=hidden / width,
        patch_size=patch,
        max_img_size=round(places**0.5) * patch,
        num_cls_tokens=1,
        num_registers=tokens - 1,  # which of them are registers is of no matter to patches
        summary_idxs=[0],
    )
    model = RadioModel(config)
    converted = _converted(weights) | _under_kept("input_conditioner.", state)
    own = model.state_dict()
    # What RADIO has no layer for, transformers has with ones.
    scales = {name: one for name, one in own.items() if name.endswith("lambda1")}
    fitted(model, {**scales, **converted, "summary_idxs": own["summary_idxs"]}, path)
    if not args.get("model_norm") or not final:
        return model, nn.Identity()
    return model, fitted(nn.LayerNorm(width, eps=1e-6), final, path)


def _converted(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, one in weights.items():
        if name.endswith(_FUSED):
            block, kind = name.split(".")[1], name.rpartition(".")[2]
            for letter, part in zip("qkv", one.chunk(3), strict=True):
                found[f"encoder.layer.{block}.attention.{letter}_proj.{kind}"] = part
        else:
            found[renamed(name, _NAMES)] = one
    return found


def _head(
    state: Mapping[str, Tensor], args: Mapping[str, Any], teacher: str, kind: str, path: Path
) -> Head:
    known: Sequence[Mapping[str, Any]] = args.get("teachers") or ()
    places = [i for i, one in enumerate(known) if teacher in (one.get("name"), one.get("type"))]
    names = ", ".join(str(one.get("name")) for one in known)
    if not places:
        raise UsageError(f"{path}: has no head for {teacher}; it was taught by {names}")
    # Files have heads by number or by the teacher's name.
    for label in (places[0], known[places[0]].get("name")):
        weights = settled(_under(f"{kind}.{label}.", state))
        head = head_for(weights)
        if head is not None:
            return fitted(head, {name: one.float() for name, one in weights.items()}, path)
    raise UsageError(f"{path}: its head for {teacher} is of a kind that is not read here")


def _under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: one for name, one in state.items() if name.startswith(prefix)}


def _under_kept(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: one.float() for name, one in state.items() if name.startswith(prefix)}
