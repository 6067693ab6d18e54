"""``python -m ovbench.toyworld.gallery``: draw the page of pictures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ovbench.errors import OvbenchError
from ovbench.harness.contract.runtime import Runtime
from ovbench.models.clip.masker import load_masker
from ovbench.models.clip.model import load_clip
from ovbench.models.diffusion.model import load_diffusion
from ovbench.models.grouping.groupvit import load_groupvit
from ovbench.models.matchers.blip import load_blip
from ovbench.models.matchers.bridgetower import load_bridgetower
from ovbench.models.painter import load_painter
from ovbench.models.patches.encoder import load_patch_encoder
from ovbench.models.patches.saliency import load_saliency
from ovbench.models.pixelwise.lseg import load_lseg
from ovbench.models.radio.model import load_radio
from ovbench.models.sam.model import load_sam
from ovbench.models.seggpt import load_seggpt
from ovbench.models.towers import clippy
from ovbench.models.towers.clippy import load_clippy
from ovbench.models.towers.simseg import load_simseg
from ovbench.toyworld.gallery import sheets
from ovbench.toyworld.gallery.canvas import sheet
from ovbench.toyworld.quality import distilled, pixelwise, places
from ovbench.toyworld.quality.proposals import SETTINGS
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.world import NAMES, SIZE, SPLITS, THINGS

_TOY = Runtime(checkpoints="toy")
_SCENES = [render_scene(seed) for seed in SPLITS["test"][:6]]
_OTHERS = [render_scene(seed) for seed in SPLITS["test"][6:60]]


def _encoders() -> sheets.Rows:
    models = [
        ("DINO", load_patch_encoder("dino", "dino_vitb8", _TOY)),
        ("DINOv2", load_patch_encoder("dinov2", "dinov2_base", _TOY)),
    ]
    return sheets.encoders(_SCENES, models)


def _matching() -> sheets.Rows:
    models = [
        ("BLIP", load_blip("blip_flickr", _TOY)),
        ("BridgeTower", load_bridgetower("bridgetower_large_itm", _TOY)),
    ]
    return sheets.matching(_SCENES, models)


def _naming() -> sheets.Rows:
    texts = load_clip("ViT-B-32", "openai", _TOY).embed_queries(NAMES, pixelwise.TEMPLATES)
    return sheets.naming(_SCENES, load_lseg("lseg_demo_e200", _TOY), texts)


def _painting() -> sheets.Rows:
    models = [
        ("SegGPT", load_seggpt("seggpt_vit_large", _TOY)),
        ("Painter", load_painter("painter_vit_large", _TOY)),
    ]
    return sheets.painting(_SCENES, _OTHERS, models)


def _places() -> sheets.Rows:
    side, colours = 2 * SIZE, (clippy.MEAN, clippy.STD)
    clip = load_clip("ViT-B-16", "openai", _TOY)
    radio = load_radio("c_radio_v3_b", clip.joint_width, _TOY)
    images = np.stack([scene.image for scene in _SCENES])
    named = {
        "SimSeg": places.name_places(load_simseg("simseg_vitb", _TOY), _SCENES, side),
        "CLIPpy": places.name_places(load_clippy("clippy_5k", _TOY), _SCENES, side, colours),
        "RADIO": distilled.name_places(radio, clip, images, side),
    }
    return sheets.places(_SCENES, named)


def _generation(names: tuple[str, ...]) -> sheets.Rows:
    return sheets.generation(load_diffusion("stable_diffusion_v1_5", _TOY), names)


def _masker() -> sheets.Rows:
    clip = load_clip("ViT-B-16", "openai", _TOY)
    return sheets.masker(_SCENES, clip, load_masker("tcl_vitb16", clip, _TOY))


SHEETS: Mapping[str, tuple[str, Callable[[], sheets.Rows]]] = {
    "world": ("Scenes and their labels.", lambda: sheets.world(_SCENES)),
    "matching": (
        "Where the miniature matchers look for a word, in a prompt that lists all classes.",
        _matching,
    ),
    "generation": (
        'Pictures that the miniature Stable Diffusion makes of "a photo of a ...", all from one '
        "seed, and where the class's word acts in them.",
        lambda: _generation(THINGS[:5]) + _generation(THINGS[5:]),
    ),
    "encoders": (
        "Patch features of the miniature DINO and DINOv2: three principal components as red, "
        "green and blue.",
        _encoders,
    ),
    "proposals": (
        "What the miniature SAM cuts out unasked, from a grid of points.",
        lambda: sheets.proposals(_SCENES, load_sam("sam_vit_b", _TOY), SETTINGS),
    ),
    "saliency": (
        "What the miniature FOUND takes for foreground.",
        lambda: sheets.saliency(_SCENES, load_saliency("found_dino_vits8", _TOY)),
    ),
    "naming": (
        "What the miniature LSeg, which learned from label maps, calls each pixel.",
        _naming,
    ),
    "painting": (
        "What the miniature SegGPT and Painter paint for each scene's first class, which they are "
        "shown in the next of 54 other scenes that has it.",
        _painting,
    ),
    "places": (
        "The class that every place is nearest to for the miniature SimSeg, CLIPpy and RADIO, "
        "of all 15; below, the labels.",
        _places,
    ),
    "groups": (
        "What the miniature GroupViT puts together, a colour a group, and the class that each "
        "group is nearest to; below, the labels.",
        lambda: sheets.groups(_SCENES, load_groupvit("groupvit_gcc_yfcc", _TOY)),
    ),
    "masker": (
        "What the miniature masker of TCL cuts out for each scene's first class, and the class of "
        "the largest of its 15 masks; below, the labels.",
        _masker,
    ),
}
"""Each sheet's name, what the page says of it, and how it is drawn."""


def main(arguments: list[str] | None = None) -> int:
    """Draw every sheet and write the page that shows them."""
    parser = argparse.ArgumentParser(
        prog="python -m ovbench.toyworld.gallery",
        description="Draw what the rendered world is and what its miniature models make of it.",
    )
    parser.add_argument("--output", type=Path, default=Path("docs"), help="default: docs")
    output = parser.parse_args(arguments).output
    folder = output / "gallery"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for name, (_, draw) in SHEETS.items():
            path = folder / f"{name}.png"
            sheet(draw()).save(path, optimize=True)
            print(path, file=sys.stderr, flush=True)
    except OvbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    (output / "gallery.md").write_text(_page(), encoding="utf-8")
    return 0


def _page() -> str:
    parts = [
        f"## {name.capitalize()}\n\n{text}\n\n![{name}](gallery/{name}.png)\n"
        for name, (text, _) in SHEETS.items()
    ]
    return (
        "# The miniature models in pictures\n\nDrawn by `python -m ovbench.toyworld.gallery` on "
        "the first scenes of the test split; nothing was picked by hand.\n\n" + "\n".join(parts)
    )


if __name__ == "__main__":
    raise SystemExit(main())
