"""Methods, class filters and datasets by name, imported only when asked for.

Third parties add theirs through the entry-point groups ``ovbench.methods``,
``ovbench.filters`` and ``ovbench.datasets``; see ``examples/`` for a package that does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from operator import attrgetter
from typing import Any

from ovbench.errors import UsageError
from ovbench.harness.contract.checks.nearest import nearest
from ovbench.harness.registry.left_out import left_out


@dataclass(frozen=True, slots=True)
class Entry:
    """One registered name.

    Attributes:
        target: ``"module:attribute"``.
        summary: one line for ``ovbench list``; that of a method stands in its card.
        package: the distribution that provides it.
        published: False for a dataset whose files are a user's own: nobody else says what
            they hold.
    """

    target: str
    summary: str = ""
    package: str = "ovbench"
    published: bool = True


class Registry:
    """Built-in names and installed entry points of one kind."""

    def __init__(
        self,
        kind: str,
        group: str,
        builtin: Mapping[str, Entry],
        has: Sequence[str] = (),
        absent: Callable[[str], object] = lambda name: None,
    ) -> None:
        """Take what is built in.

        Args:
            has: the attributes of everything that is registered.
            absent: what to say of a name that is known and not registered; None of others.
        """
        self._kind, self._group, self._builtin, self._has = kind, group, builtin, has
        self._absent = absent

    @cached_property
    def entries(self) -> Mapping[str, Entry]:
        """Every known name, built-in ones first.

        Raises:
            UsageError: an installed package claims a name that is taken.
        """
        known = dict(self._builtin)
        for point in entry_points(group=self._group):
            entry = _from_entry_point(point)
            if known.setdefault(point.name, entry) != entry:
                raise UsageError(
                    f"the {self._kind} {point.name!r} of package {entry.package} is already "
                    f"provided by {known[point.name].package}; uninstall one of them"
                )
        return known

    def entry(self, name: str) -> Entry:
        """Look a name up without importing anything.

        Raises:
            UsageError: unknown; suggests the nearest known name, or says why it is left out.
        """
        if name in self.entries:
            return self.entries[name]
        if (absent := self._absent(name)) is not None:
            raise UsageError(f"no {self._kind} {name!r}: {absent}")
        raise UsageError(f"no {self._kind} {name!r}; {nearest(name, self.entries)}")

    def load(self, name: str) -> Any:
        """Import and return what a name stands for.

        Raises:
            UsageError: unknown, its entry point names no attribute of a module or what cannot be
                called, or its module cannot be imported, such as one that is not Python or that
                ends the program.
        """
        entry = self.entry(name)
        module, _, attribute = entry.target.partition(":")
        whose = f"the {self._kind} {name!r} of package {entry.package}"
        if not module or not attribute:
            raise UsageError(
                f"{whose}: its entry point is {entry.target!r}; below "
                f'[project.entry-points."{self._group}"] write {name} = "module:attribute", '
                f"such as {name} = {f'{module or name}:{_camel(name)}'!r}, and install it again"
            )
        try:
            found = attrgetter(attribute)(import_module(module))
        except (ImportError, AttributeError, SyntaxError, SystemExit) as error:
            reason = "it ends the program" if isinstance(error, SystemExit) else error
            raise UsageError(f"{whose} cannot be imported: {reason}") from error
        lacking = [name for name in self._has if not hasattr(found, name)]
        if lacking or not callable(found):
            what = f"has no {' and no '.join(lacking)}" if lacking else "cannot be called"
            raise UsageError(f"{whose}: {entry.target} {what}; its entry point names another thing")
        return found


def _from_entry_point(point: EntryPoint) -> Entry:
    package = point.dist.name if point.dist else "unknown"
    version = point.dist.version if point.dist else ""
    summary = f"from package {package} {version}".rstrip()
    # Without the extras that may stand behind it.
    return Entry(point.value.partition("[")[0].strip(), summary, package, published=False)


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


METHODS = Registry(
    "method",
    "ovbench.methods",
    {
        "pnp_ovss": Entry("ovbench.adapters.pnp_ovss:PnPOVSS"),
        "ovdiff": Entry("ovbench.adapters.ovdiff:OVDiff"),
        "rim": Entry("ovbench.adapters.rim:RIM"),
        "ipseg": Entry("ovbench.adapters.ipseg:IPSeg"),
        "maskclip": Entry("ovbench.adapters.maskclip:MaskCLIP"),
        "sclip": Entry("ovbench.adapters.dense_clip.sclip:SCLIP"),
        "clearclip": Entry("ovbench.adapters.dense_clip.clearclip:ClearCLIP"),
        "naclip": Entry("ovbench.adapters.dense_clip.naclip:NACLIP"),
        "floss": Entry("ovbench.adapters.dense_clip.floss:FLOSS"),
        "floss_maskclip": Entry("ovbench.adapters.dense_clip.floss:FLOSSMaskCLIP"),
        "floss_clip_dinoiser": Entry("ovbench.adapters.dense_clip.floss:FLOSSDINOiser"),
        "scclip": Entry("ovbench.adapters.dense_clip.scclip:SCCLIP"),
        "sfp": Entry("ovbench.adapters.dense_clip.sfp:SFP"),
        "resclip": Entry("ovbench.adapters.dense_clip.resclip:ResCLIP"),
        "proxyclip": Entry("ovbench.adapters.dense_clip.proxyclip:ProxyCLIP"),
        "gem": Entry("ovbench.adapters.dense_clip.gem:GEM"),
        "cliptrase": Entry("ovbench.adapters.dense_clip.cliptrase:CLIPtrase"),
        "cass": Entry("ovbench.adapters.dense_clip.cass:CASS"),
        "radseg": Entry("ovbench.adapters.radseg:RADSeg"),
        "talk2dino": Entry("ovbench.adapters.talk2dino:Talk2DINO"),
        "freeda": Entry("ovbench.adapters.freeda:FreeDA"),
        "dinotxt": Entry("ovbench.adapters.dinotxt:DinoTxtSegmenter"),
        "clip_dinoiser": Entry("ovbench.adapters.dense_clip.clip_dinoiser:CLIPDINOiser"),
        "lposs": Entry("ovbench.adapters.dense_clip.lposs:LPOSS"),
        "lposs_plus": Entry("ovbench.adapters.dense_clip.lposs:LPOSSPlus"),
        "trident": Entry("ovbench.adapters.dense_clip.trident:Trident"),
        "corrclip": Entry("ovbench.adapters.regional.corrclip:CorrCLIP"),
        "textregion": Entry("ovbench.adapters.regional.textregion:TextRegion"),
        "lavg": Entry("ovbench.adapters.regional.lavg:LaVG"),
        "clip_diy": Entry("ovbench.adapters.clip_diy:CLIPDIY"),
        "groupvit": Entry("ovbench.adapters.grouping.groupvit:GroupViTMethod"),
        "ovsegmentor": Entry("ovbench.adapters.grouping.ovsegmentor:OVSegmentorMethod"),
        "segclip": Entry("ovbench.adapters.grouping.segclip:SegCLIPMethod"),
        "tcl": Entry("ovbench.adapters.tcl:TCL"),
        "maskclip_plus": Entry("ovbench.adapters.pixelwise.maskclip_plus:MaskCLIPPlus"),
        "lseg": Entry("ovbench.adapters.pixelwise.lseg:LSegMethod"),
        "catseg": Entry("ovbench.adapters.pixelwise.catseg:CATSegMethod"),
        "simseg": Entry("ovbench.adapters.pooled.simseg:SimSeg"),
        "clippy": Entry("ovbench.adapters.pooled.clippy:CLIPpy"),
        "reco": Entry("ovbench.adapters.reco:ReCo"),
        "diffsegmenter": Entry("ovbench.adapters.diffsegmenter:DiffSegmenter"),
        "persam": Entry("ovbench.adapters.persam:PerSAM"),
        "matcher": Entry("ovbench.adapters.matcher:Matcher"),
        "seggpt": Entry("ovbench.adapters.in_context.seggpt:SegGPTMethod"),
        "painter": Entry("ovbench.adapters.in_context.painter:PainterMethod"),
        "sam3": Entry("ovbench.adapters.prompted.sam3:Sam3Method"),
        "activesam": Entry("ovbench.adapters.prompted.activesam:ActiveSAM"),
        "clipseg": Entry("ovbench.adapters.prompted.clipseg:CLIPSegMethod"),
        "florence2": Entry("ovbench.adapters.prompted.florence2:Florence2Method"),
        "owlv2_sam": Entry("ovbench.adapters.prompted.owlv2_sam:OWLv2Sam"),
        "grounded_sam": Entry("ovbench.adapters.prompted.grounded_sam:GroundedSam"),
        "constant": Entry("ovbench.adapters.chance:Constant"),
        "random": Entry("ovbench.adapters.chance:Random"),
    },
    has=("Settings",),
    absent=left_out,
)

FILTERS = Registry(
    "class filter",
    "ovbench.filters",
    {
        "clip": Entry(
            "ovbench.adapters.parts.clip_filter:CLIPFilter",
            "CLIP compares the whole image with every class",
        ),
    },
    has=("Settings",),
)

DATASETS = Registry(
    "dataset",
    "ovbench.datasets",
    {
        "voc": Entry(
            "ovbench.datasets.voc:open_voc",
            "PASCAL VOC 2012: 20 classes and background; --background ignore gives VOC20",
        ),
        "context": Entry(
            "ovbench.datasets.context:open_context",
            "PASCAL Context: 59 classes and background; --background ignore gives Context59",
        ),
        "cocoobject": Entry(
            "ovbench.datasets.cocoobject:open_cocoobject",
            "COCO-Object: the 80 things of COCO 2017 and background, in two constructions",
        ),
        "cocostuff": Entry(
            "ovbench.datasets.cocostuff:open_cocostuff",
            "COCO-Stuff 164k: 80 things and 91 kinds of stuff, no background",
        ),
        "ade20k": Entry(
            "ovbench.datasets.ade20k:open_ade20k",
            "ADE20K-150: 150 classes of things and stuff, no background",
        ),
        "cityscapes": Entry(
            "ovbench.datasets.cityscapes:open_cityscapes",
            "Cityscapes: 19 classes of street scenes, no background",
        ),
        "coco20i": Entry(
            "ovbench.datasets.coco20i:open_coco20i",
            "COCO-20i: 1000 episodes a fold, each with a prompt image of one of 20 classes",
        ),
        "fss1000": Entry(
            "ovbench.datasets.fss1000:open_fss1000",
            "FSS-1000: 240 test classes, each image prompted by another one of its class",
        ),
        "perseg": Entry(
            "ovbench.datasets.perseg:open_perseg",
            "PerSeg: 40 objects, each prompted by its first image",
        ),
        "folder": Entry(
            "ovbench.datasets.folder:open_folder",
            "your own: --root holds images/, masks/ and classes.txt",
            published=False,
        ),
        "toyworld": Entry(
            "ovbench.datasets.toyworld:open_toyworld",
            "rendered scenes: 10 things and background; nothing to download",
        ),
        "toyworld_stuff": Entry(
            "ovbench.datasets.toyworld:open_toyworld_stuff",
            "rendered scenes: 10 things and 5 stuff classes, no background",
        ),
    },
)
