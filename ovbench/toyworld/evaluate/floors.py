"""How each miniature is measured, and what it must reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

from ovbench.harness.contract.runtime import Runtime
from ovbench.toyworld.scene import Scene

Figures = Mapping[str, float]

FLOORS: Mapping[str, Figures] = {
    "clip": {"miou_15_96px": 50.0},
    "blip": {"itm_accuracy": 0.90},
    "bridgetower": {"itm_accuracy": 0.90},
    "dino": {"patch_accuracy_key_96px": 0.70},
    "dinov2": {"patch_accuracy_token_96px": 0.70},
    "stable_diffusion": {"recognised": 0.80, "attention_iou": 0.40},
    "sam": {"interior_point_iou_things": 0.75, "best_proposal_iou": 0.80},
    "saliency": {"foreground_iou_192px": 0.70},
    "lseg": {"miou_15_96px": 60.0},
    "seggpt": {"in_context_iou_things": 0.60},
    "painter": {"in_context_iou_things": 0.60},
    "simseg": {"miou_15_192px": 60.0},
    "clippy": {"miou_15_192px": 55.0},
    "groupvit": {"miou_15_192px": 45.0},
    "tcl": {"miou_15_192px": 65.0},
    "radio": {"miou_15_192px": 50.0, "sam_cosine": 0.80},
}
"""Per role the figures that must not be lower; mIoU in percent, the others are shares."""

_TOY = Runtime(checkpoints="toy")


def measure(role: str, scenes: Sequence[Scene]) -> Figures:
    """Load a role's miniature and measure it on scenes that it never saw."""
    measures: Mapping[str, Callable[[Sequence[Scene]], Figures]] = {
        "clip": _clip,
        "groupvit": _groupvit,
        "tcl": _tcl,
        "blip": _blip,
        "bridgetower": _bridgetower,
        "dino": partial(_encoder, "dino"),
        "dinov2": partial(_encoder, "dinov2"),
        "stable_diffusion": _stable_diffusion,
        "sam": _sam,
        "saliency": _saliency,
        "lseg": _lseg,
        "seggpt": _seggpt,
        "painter": _painter,
        "simseg": _simseg,
        "clippy": _clippy,
        "radio": _radio,
    }
    return measures[role](scenes)


# The names are those of the real checkpoints that the miniatures stand in for.


def _clip(scenes: Sequence[Scene]) -> Figures:
    from ovbench.models.clip.model import load_clip
    from ovbench.toyworld.quality import localisation

    return localisation.measure(load_clip("ViT-B-16", "openai", _TOY), scenes)


def _groupvit(scenes: Sequence[Scene]) -> Figures:
    from ovbench.models.grouping.groupvit import load_groupvit
    from ovbench.toyworld.quality import grouping

    return grouping.measure(load_groupvit("groupvit_gcc_yfcc", _TOY), scenes)


def _tcl(scenes: Sequence[Scene]) -> Figures:
    from ovbench.models.clip.masker import load_masker
    from ovbench.models.clip.model import load_clip
    from ovbench.toyworld.quality import masking

    clip = load_clip("ViT-B-16", "openai", _TOY)
    return masking.measure(clip, load_masker("tcl_vitb16", clip, _TOY), scenes)


def _blip(scenes: Sequence[Scene]) -> Figures:
    from ovbench.models.matchers.blip import load_blip
    from ovbench.toyworld.quality import matching

    return matching.measure(load_blip("blip_flickr", _TOY), scenes)


def _bridgetower(scenes: Sequence[Scene]) -> Figures:
    from ovbench.models.matchers.bridgetower import load_bridgetower
    from ovbench.toyworld.quality import matching

    return matching.measure(load_bridgetower("bridgetower_large_itm", _TOY), scenes)


def _encoder(role: Literal["dino", "dinov2"], scenes: Sequence[Scene]) -> Figures:
    from ovbench.models.patches.encoder import load_patch_encoder
    from ovbench.toyworld.quality import patches

    names = {"dino": "dino_vitb8", "dinov2": "dinov2_base"}
    return patches.measure(load_patch_encoder(role, names[role], _TOY), scenes)


def _stable_diffusion(_: Sequence[Scene]) -> Figures:
    from ovbench.models.diffusion.model import load_diffusion
    from ovbench.toyworld.quality import generation

    return generation.measure(load_diffusion("stable_diffusion_v1_5", _TOY))


def _sam(scenes: Sequence[Scene]) -> Figures:
    from ovbench.models.sam.model import load_sam
    from ovbench.toyworld.quality import proposals

    return proposals.measure(load_sam("sam_vit_b", _TOY), scenes)


def _saliency(scenes: Sequence[Scene]) -> Figures:
    from ovbench.models.patches.saliency import load_saliency
    from ovbench.toyworld.quality import foreground

    return foreground.measure(load_saliency("found_dino_vits8", _TOY), scenes)


def _lseg(scenes: Sequence[Scene]) -> Figures:
    from ovbench.models.clip.model import load_clip
    from ovbench.models.pixelwise.lseg import load_lseg
    from ovbench.toyworld.quality import pixelwise
    from ovbench.toyworld.world import NAMES

    texts = load_clip("ViT-B-32", "openai", _TOY).embed_queries(NAMES, pixelwise.TEMPLATES)
    return pixelwise.measure(load_lseg("lseg_demo_e200", _TOY), texts, scenes)


def _seggpt(scenes: Sequence[Scene]) -> Figures:
    from ovbench.models.seggpt import load_seggpt
    from ovbench.toyworld.quality import in_context

    return in_context.measure(load_seggpt("seggpt_vit_large", _TOY), scenes)


def _painter(scenes: Sequence[Scene]) -> Figures:
    from ovbench.models.painter import load_painter
    from ovbench.toyworld.quality import in_context

    return in_context.measure(load_painter("painter_vit_large", _TOY), scenes)


def _simseg(scenes: Sequence[Scene]) -> Figures:
    from ovbench.models.towers.simseg import load_simseg
    from ovbench.toyworld.quality import places

    return places.measure(load_simseg("simseg_vitb", _TOY), scenes)


def _clippy(scenes: Sequence[Scene]) -> Figures:
    from ovbench.models.towers.clippy import MEAN, STD, load_clippy
    from ovbench.toyworld.quality import places

    return places.measure(load_clippy("clippy_5k", _TOY), scenes, (MEAN, STD))


def _radio(scenes: Sequence[Scene]) -> Figures:
    from ovbench.models.clip.model import load_clip
    from ovbench.models.radio.model import load_radio
    from ovbench.models.sam.model import load_sam
    from ovbench.toyworld.quality import distilled

    clip, sam = load_clip("ViT-B-16", "openai", _TOY), load_sam("sam_vit_b", _TOY)
    radio = load_radio("c_radio_v3_b", clip.joint_width, _TOY)
    return distilled.measure(radio, clip, sam, scenes)
