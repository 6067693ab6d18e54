"""The packaged sets of class names: a file for each, none of them twice.

A set that equals another one of its benchmark has no file of its own: it is asked for by its name,
and recorded under the name of the set that holds its texts. Where a source has other names when the
background is left out, ``NAME.ignore.txt`` holds these.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import takewhile

from ovbench.datasets.names.lines import parsed_lines

# Where the names stand of sets that equal another one; the last word is a commit.
SOURCES: Mapping[str, str] = {
    "catseg": "CAT-Seg's evaluation (datasets/*.json of its code, 6d3a188)",
    "clearclip": "ClearCLIP's evaluation (configs/cls_*.txt of its code, ad68a40)",
    "clip_diy": "CLIP-DIY's evaluation (src/datasets/coco.py of its code, f88932d)",
    "corrclip_v2": "the evaluation of CorrCLIP's second version (CorrCLIPv2/configs/cls_*.txt of "
    "its code, 103bc18)",
    "groupvit": "GroupViT's evaluation (segmentation/datasets/ of its code, 13b7861)",
    "lposs": "LPOSS's evaluation (segmentation/datasets/ of its code, e489a74)",
    "naclip": "NACLIP's evaluation (configs/cls_*.txt of its code, 0cac3a6)",
    "pnp_ovss": "PnP-OVSS's evaluation (Load_datasets.py of its code, e439962)",
    "proxyclip": "ProxyCLIP's evaluation (configs/cls_*.txt of its code, e7b767f)",
    "sclip": "SCLIP's evaluation (configs/cls_*.txt of its code, b56bd30)",
    "segearth": "SegEarth-OV3's evaluation (configs/cls_*.txt of its code, 87e5cc1)",
    "sfp": "SFP's evaluation (SFP_ICCV/configs/cls_*.txt of its code, 2804f5b)",
    "simseg": "SimSeg's evaluation (data/label_category/ of its code, 50f3f59)",
}

_PLAIN_SPELLING = ("clearclip", "naclip", "proxyclip", "segearth", "sfp")
EQUAL: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "voc": {
        "sclip": ("naclip",),
        "clearclip": ("segearth",),
        "corrclip": ("corrclip_v2",),
        "groupvit": ("simseg",),
    },
    "context": {
        "plain": ("pnp_ovss", "sclip", "simseg", *_PLAIN_SPELLING),
        "corrclip": ("corrclip_v2",),
    },
    "cocoobject": {
        "plain": ("clearclip", "clip_diy", "groupvit", "segearth", "simseg"),
        "sclip": ("naclip", "sfp"),
        "corrclip": ("corrclip_v2",),
    },
    "cocostuff": {"sclip": _PLAIN_SPELLING, "corrclip": ("corrclip_v2",)},
    "ade20k": {"plain": ("catseg",), "sclip": _PLAIN_SPELLING, "corrclip": ("corrclip_v2",)},
    "cityscapes": {"sclip": ("clearclip", "naclip", "proxyclip"), "corrclip": ("sfp",)},
}
"""Of every benchmark, the sets that have a file and those whose texts are the same."""

_IGNORE = ".ignore"


def available_sets(benchmark: str) -> list[str]:
    """The names of a benchmark's packaged sets, those that equal another one among them."""
    folder = _folder(benchmark)
    if not folder.is_dir():
        return []
    own = {f.name.removesuffix(".txt") for f in folder.iterdir() if f.name.endswith(".txt")}
    equal = {name for names in EQUAL.get(benchmark, {}).values() for name in names}
    return sorted({name for name in own if not name.endswith(_IGNORE)} | equal)


def packaged(benchmark: str, name: str, background: bool) -> tuple[str, str]:
    """The source of a packaged set, for the record, and its file's text.

    Args:
        background: whether background is a label.
    """
    apart = f"{name}{_IGNORE}"
    if not background and _file(benchmark, apart).is_file():
        return f"{benchmark}/{name}", _text(benchmark, apart)
    kept = _kept_as(benchmark, name)
    return f"{benchmark}/{kept}", _text(benchmark, kept)


def known_as(benchmark: str, name: str, background: bool) -> tuple[str, ...]:
    """Every name of a packaged set, that of its file first; see :func:`packaged`."""

    def apart(one: str) -> bool:
        return not background and _file(benchmark, f"{one}{_IGNORE}").is_file()

    if apart(name):
        return (name,)
    kept = _kept_as(benchmark, name)
    equal = EQUAL.get(benchmark, {}).get(kept, ())
    return (kept, *(one for one in equal if not apart(one)))


def describe_set(benchmark: str, name: str) -> tuple[int, str]:
    """How many text queries a set has, background's included, and where it comes from."""
    _, text = packaged(benchmark, name, background=True)
    kept, apart = _kept_as(benchmark, name), f"{name}{_IGNORE}"
    source = _head(text) if kept == name else f"The names of {SOURCES[name]}: equal to {kept}."
    if _file(benchmark, apart).is_file():
        source += f" Background left out: {_head(_text(benchmark, apart))}"
    return sum(len(line.queries) for line in parsed_lines(text, name)), source


def _folder(benchmark: str) -> Traversable:
    return files("ovbench.datasets") / "names" / benchmark


def _file(benchmark: str, name: str) -> Traversable:
    return _folder(benchmark) / f"{name}.txt"


def _text(benchmark: str, name: str) -> str:
    return _file(benchmark, name).read_text(encoding="utf-8")


def _kept_as(benchmark: str, name: str) -> str:
    """The set whose file holds the texts of a set."""
    equal = EQUAL.get(benchmark, {})
    return next((kept for kept, names in equal.items() if name in names), name)


def _head(text: str) -> str:
    """Where a file says it comes from."""
    head = takewhile(lambda line: line.startswith("#"), text.splitlines())
    return " ".join(line.removeprefix("#").strip() for line in head)
