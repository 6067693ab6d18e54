"""CLIPs by open_clip's names of architecture and weights, of which the catalogue has a few.

open_clip's own table says where each lies on the hub.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from ovbench.errors import UsageError


def place_of(architecture: str, tag: str) -> tuple[str, tuple[str, ...]]:
    """The hub's id of a CLIP, and its file there, by the names that it may have.

    Raises:
        UsageError: unknown architecture or tag.
    """
    owner, name, file = config_of(known_architecture(architecture), tag)["hf_hub"].split("/")
    return f"{owner}/{name}", _weight_files(file)


def config_of(architecture: str, tag: str) -> dict[str, Any]:
    """What open_clip knows of weights: ``hf_hub``, ``mean``, ``std`` and ``quick_gelu``.

    Raises:
        UsageError: no such tag.
    """
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    config: dict[str, Any] = get_pretrained_cfg(architecture, tag)
    if not config:
        known = [*list_pretrained_tags_by_model(architecture), "random"]
        raise UsageError(
            f"open_clip has no weights {tag!r} for {architecture}; {_suggestion(tag, known)}"
        )
    return config


def known_architecture(name: str) -> str:
    """An architecture as open_clip writes it, which may be given as ``"ViT-B/16"``.

    Raises:
        UsageError: there is none.
    """
    import open_clip

    known = open_clip.list_models()
    name = name.replace("/", "-")
    if name not in known:
        raise UsageError(f"open_clip has no architecture {name!r}; {_suggestion(name, known)}")
    return name


def _suggestion(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name, known, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are: {', '.join(known[:12])}{', ...' if len(known) > 12 else ''}"


def _weight_files(file: str) -> tuple[str, ...]:
    """The file a tag names, or open_clip's default; safetensors first."""
    if not file:
        return ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
    return (f"{file.rpartition('.')[0]}.safetensors", file)
