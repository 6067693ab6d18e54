"""PASCAL Context: 59 classes, with background as a class (Context60) or left out (Context59).

Mottaghi et al., "The Role of Context for Object Detection and Semantic Segmentation in the Wild"
(CVPR 2014). The images are VOC 2010's; three kinds of labels are about:

- ``converted``: index PNGs in ``SegmentationClassContext`` (0 background, 1 to 59), which
  mmsegmentation's converter makes from ``detail``. What made those on a disk nobody can tell.
- ``detail``: ``trainval_merged.json`` of the Detail API, whose regions are painted in the order of
  the file, the last one on top.
- ``labels459``: the original pack, one MATLAB file per image with one id per pixel.

The Detail API's annotations are a later revision of the pack's: the two differ in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ovbench.datasets.choosing.choices import Choices
from ovbench.datasets.names import read_vocabulary
from ovbench.datasets.reading.context_labels import DetailLabels, MatFiles, id_encoding
from ovbench.datasets.reading.encoding import LabelEncoding, background_encoding
from ovbench.datasets.reading.files import FileDataset, ImageFiles, LabelFiles, Labels, read_id_list
from ovbench.datasets.reading.layouts import not_here
from ovbench.errors import UsageError
from ovbench.harness.contract.datasets import BackgroundRule, DatasetInfo

NUM_CLASSES = 59
VOID = 255
EXPECTED_IMAGES = {"train": 4998, "val": 5105}

HOME = Path("VOCdevkit") / "VOC2010"
CONVERTED, DETAIL = "SegmentationClassContext", "trainval_merged.json"
# Where the pack may have been unpacked, from the root and from VOC2010.
PACKS = ("pascal-context/trainval", "trainval", f"{HOME.as_posix()}/trainval")

Parts = tuple[Sequence[str], Labels, LabelEncoding]


def open_context(choices: Choices) -> FileDataset:
    """Open PASCAL Context.

    Args:
        choices: the root holds ``VOCdevkit/VOC2010``; that folder or its parent is accepted
            too. Splits are train and val. The variant is by default the first one that is
            there, of converted, detail, labels459.

    Raises:
        UsageError: files are not there, or there is no such split, rule or variant.
    """
    split = choices.split_of("context", EXPECTED_IMAGES)
    background = choices.background_of("context")
    vocabulary = read_vocabulary(
        "context", choices.names, num_classes=NUM_CLASSES, background=background == "class"
    )
    root = choices.folder("context", f"{HOME.as_posix()} with its labels")
    home = _find(root)
    at_hand = [name for name, place in _places(root, home).items() if place.exists()]
    variant = choices.variant_of("context", VARIANTS, at_hand[0] if at_hand else "detail")
    if variant not in at_hand:
        mend = f"`ovbench datasets prepare context --root {root} --variant {variant}` fetches it"
        if variant == "converted":
            mend = "mmsegmentation's converter makes it; the other variants need no conversion"
        places = _places(root, home)
        if choices.variant is None:
            looked = [place.relative_to(root).as_posix() for place in places.values()]
            raise not_here("context", root, looked, mend)
        raise UsageError(f"{places[variant]}: not there; {mend}")
    ids, labels, encoding = VARIANTS[variant](root, home, split, background)
    return FileDataset(
        DatasetInfo("context", split, background, VOID, EXPECTED_IMAGES[split], variant=variant),
        vocabulary,
        ids,
        ImageFiles(home / "JPEGImages"),
        labels,
        encoding,
    )


def _find(root: Path) -> Path:
    places = (HOME.as_posix(), HOME.name, ".")
    for home in (root / place for place in places):
        if (home / "JPEGImages").is_dir():
            return home
    hint = (
        f"it should hold {HOME.as_posix()}/JPEGImages (`ovbench datasets prepare context --root "
        f"{root}` fetches it)"
    )
    raise not_here("context", root, [f"{place}/JPEGImages" for place in places], hint)


def _places(root: Path, home: Path) -> Mapping[str, Path]:
    """Where the labels of each variant are, or should be."""
    packs = [root / pack for pack in PACKS] + [home / "trainval"]
    pack = next((folder for folder in packs if folder.is_dir()), packs[0])
    return {"converted": home / CONVERTED, "detail": home / DETAIL, "labels459": pack}


def _converted(root: Path, home: Path, split: str, background: BackgroundRule) -> Parts:
    ids = read_id_list(home / "ImageSets" / "SegmentationContext" / f"{split}.txt")
    encoding = background_encoding("context", NUM_CLASSES, background)
    return ids, LabelFiles(home / CONVERTED), encoding


def _detail(root: Path, home: Path, split: str, background: BackgroundRule) -> Parts:
    labels = DetailLabels(home / DETAIL)
    if not (ids := labels.ids(split)):
        raise UsageError(f"{labels.path}: lists no images of {split}")
    return ids, labels, id_encoding(background)


def _labels459(root: Path, home: Path, split: str, background: BackgroundRule) -> Parts:
    """VOC 2010's own lists divide the pack into 4,998 and 5,105 images."""
    ids = read_id_list(home / "ImageSets" / "Main" / f"{split}.txt")
    return ids, MatFiles(_places(root, home)["labels459"]), id_encoding(background)


VARIANTS: Mapping[str, Callable[[Path, Path, str, BackgroundRule], Parts]] = {
    "converted": _converted,
    "detail": _detail,
    "labels459": _labels459,
}
