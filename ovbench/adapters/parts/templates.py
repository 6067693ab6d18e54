"""Prompt templates by name; ``{}`` stands for the class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

TemplateSet: TypeAlias = Literal[
    "maskclip85", "imagenet80", "single", "phrase", "scene", "tcl9", "clip7", "subset7", "bare"
]
"""The names that :func:`templates` knows."""

SCENE = (
    "there is a {} in the scene.",
    "there is the {} in the scene.",
    "this is a {} in the scene.",
    "this is the {} in the scene.",
    "this is one {} in the scene.",
)
"""What MaskCLIP adds (tools/maskclip_utils/prompt_engineering.py)."""

TCL = (
    "itap of a {}.",
    "a bad photo of a {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
    "a photo of many {}.",
    "a photo of {}s.",
)
"""What TCL asks with (datasets/templates.py): seven that CLIP's authors chose, and two plurals."""

CLIP7 = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)
"""The seven that CLIP's authors chose (notebooks/Prompt_Engineering_for_ImageNet.ipynb)."""


_WRITTEN_OUT: Mapping[TemplateSet, tuple[str, ...]] = {
    "single": ("a photo of a {}.",),
    "phrase": ("a photo of a {}",),
    "scene": ("A photo of a {} in the scene",),
    "bare": ("{}",),
    "tcl9": TCL,
    "clip7": CLIP7,
    "subset7": TCL[:7],
}


def templates(name: TemplateSet) -> tuple[str, ...]:
    """The templates of a set.

    "single" is CLIP's basic prompt, "phrase" the same without its full stop, "scene" CAT-Seg's,
    "bare" the class alone; "imagenet80" the ensemble of CLIP's ImageNet evaluation; "maskclip85"
    that ensemble and :data:`SCENE`; "tcl9" :data:`TCL`, "clip7" :data:`CLIP7`, "subset7"
    FreeDA's and Talk2DINO's (sub_imagenet_template): those of TCL but for the plurals.
    """
    if name in _WRITTEN_OUT:
        return _WRITTEN_OUT[name]
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    ensemble = tuple(fill("{}") for fill in OPENAI_IMAGENET_TEMPLATES)
    return ensemble if name == "imagenet80" else ensemble + SCENE
