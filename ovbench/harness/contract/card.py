"""What a method says of itself before anything of it is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

MethodKind: TypeAlias = Literal[
    "training-free", "weakly trained", "mask-supervised", "image-prompted", "floor"
]
"""Weakly trained: on captions, tags or boxes. Image-prompted: asked by pictures, not by names."""

_LISTS = ("backbones", "weights", "packages")


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodCard:
    """A method at a glance, for ``ovbench list methods``.

    It stands in a method's class as ``card = MethodCard(...)``, each value written out as a
    literal: it is read from the source, so that a list of methods imports none of them.

    Attributes:
        summary: one line.
        kind: what it learns from.
        paper: authors and venue, such as ``"Luo et al., CVPR"``.
        year: of the paper.
        backbones: the models that it is made of.
        weights: what it loads by default, each as ``"role/name"`` of
            :mod:`ovbench.models.weights.catalogue`, such as ``"dino/dino_vitb8"``.
        code_licence: of the released code, "none stated" where that has none; empty where there
            is no code, or nobody has looked.
        gpu_gib: memory of a GPU that it takes by default, or None where nobody has measured it.
        packages: what it cannot do without besides ovbench's own dependencies, as pip calls it.

    Raises:
        ValueError: a kind that is none, or words where a tuple of words belongs.
    """

    summary: str
    kind: MethodKind
    paper: str = ""
    year: int | None = None
    backbones: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    code_licence: str = ""
    gpu_gib: float | None = None
    packages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        kinds = get_args(MethodKind)
        if self.kind not in kinds:
            raise ValueError(f"kind={self.kind!r} is none of {', '.join(kinds)}")
        for name in _LISTS:
            value = getattr(self, name)
            if not isinstance(value, tuple) or not all(isinstance(word, str) for word in value):
                raise ValueError(f"{name}={value!r} is no tuple of words")
        for name in ("summary", "paper", "code_licence"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name}={getattr(self, name)!r} is no text")
