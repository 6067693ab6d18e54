"""What a method says of itself before anything of it is imported."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from ovbench.harness.contract.supervision import LABELS, Labels

MethodKind: TypeAlias = Literal[
    "training-free",
    "weakly trained",
    "mask-supervised",
    "box-supervised",
    "image-prompted",
    "floor",
]
"""Weakly trained: on captions or tags. Mask- and box-supervised: on masks or boxes that have names.
Image-prompted: asked by pictures, not by names."""

_LISTS = ("backbones", "weights", "packages")
_FIELD = re.compile(r"\{(\w+)\}")
RANDOM = "random"
"""The value that stands for random weights, of which there is no file."""


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
        trained: what its weights were trained with, such as ``{"CC12M": "captions", "COCO":
            "masks"}``, where these are not ovbench's own, of which
            :mod:`ovbench.harness.registry.trainings` tells.

    Raises:
        ValueError: a kind or labels that are none, or words where a tuple of words belongs.
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
    trained: Mapping[str, Labels] = field(default_factory=dict)

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
        if not isinstance(self.trained, dict):
            raise ValueError(f"trained={self.trained!r} is no dictionary of data sets")
        for name, labels in self.trained.items():
            if not isinstance(name, str) or labels not in LABELS:
                raise ValueError(
                    f"trained={self.trained!r}: {labels!r} is none of {', '.join(LABELS)}"
                )


@dataclass(frozen=True)
class Pick:
    """What ``setting(..., picks=...)`` says of a setting, or of two that choose together.

    Attributes:
        means: ``"role/name"`` with settings in braces, or that of every value of one setting.
        defaults: of these settings, in the order in which they stand in ``means``.
        when: other settings and the values of which each must have one; else it chooses nothing.
        usual: the defaults of those.
    """

    means: str | Mapping[str, str]
    defaults: Mapping[str, str]
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    usual: Mapping[str, str] = field(default_factory=dict)

    @property
    def reads(self) -> Mapping[str, str]:
        """All settings that have a say, and their defaults."""
        return {**self.usual, **self.defaults}

    def checkpoint(self, values: Mapping[str, str]) -> str | None:
        """``"role/name"`` of what these values choose; settings that are not given keep theirs.

        None where there is no file: random weights, or a value that chooses something else.
        """
        if any(values.get(name, self.usual[name]) not in told for name, told in self.when.items()):
            return None
        given = {name: values.get(name, default) for name, default in self.defaults.items()}
        if RANDOM in given.values():
            return None
        if isinstance(self.means, str):
            return self.means.format_map(given)
        (value,) = given.values()
        return self.means.get(value)

    def values(self, checkpoint: str) -> dict[str, str] | None:
        """The values that choose a checkpoint, or None where none do."""
        needed = {name: told[0] for name, told in self.when.items()}
        if isinstance(self.means, str):
            pattern = _FIELD.sub(r"(?P<\1>\\S+)", _FIELD.sub(r"{\1}", self.means))
            found = re.fullmatch(pattern, checkpoint)
            return {**needed, **found.groupdict()} if found else None
        (name,) = self.defaults
        meant = (value for value, means in self.means.items() if means == checkpoint)
        return next(({**needed, name: value} for value in meant), None)


def settings_in(means: str | Mapping[str, str], own: str) -> tuple[str, ...]:
    """The settings that choose together; ``own`` is the one that says so."""
    return tuple(_FIELD.findall(means)) if isinstance(means, str) else (own,)


def picked(weights: Sequence[str], picks: Sequence[Pick], values: Mapping[str, str]) -> list[str]:
    """``"role/name"`` of what a method loads: a choice takes the place of what its default chose.

    Args:
        weights: of the method's card.
        picks: its settings that choose.
        values: of these settings; those that are not given keep their defaults.
    """
    found = dict.fromkeys(weights)
    for pick in picks:
        if not pick.reads.keys() & values.keys():
            continue
        others = [other.checkpoint({}) for other in picks if other is not pick]
        if (usual := pick.checkpoint({})) not in others:
            found.pop(str(usual), None)
        if (other := pick.checkpoint(values)) is not None:
            found[other] = None
    return list(found)
