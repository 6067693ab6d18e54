"""The official archives of every benchmark: where they are, what they should be, whose they are.

A digest is given where a source publishes one: torchvision (``torchvision/datasets/voc.py``) for
VOC, GluonCV (``scripts/datasets/{mscoco,ade20k,pcontext}.py``) for COCO 2017, ADE20K and the Detail
API. Where none is known, the first download's is recorded and later ones are held to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

VOC_TERMS = (
    "images from Flickr, under Flickr's terms; host.robots.ox.ac.uk/pascal/VOC: cite the challenge"
)
COCO_TERMS = (
    "annotations CC BY 4.0; images under their owners' Flickr terms (cocodataset.org/#termsofuse)"
)


@dataclass(frozen=True, slots=True)
class Archive:
    """One file on a server.

    Attributes:
        url: its address; the last part is its name.
        terms: licence, as its owners state it.
        digest: such as "md5:6cd6…", or None where nobody publishes one.
        into: folder below the root to unpack into.
        only: beginnings of the names of what is needed; empty for everything.
    """

    url: str
    terms: str
    digest: str | None = None
    into: str = ""
    only: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]


_VOC = "https://thor.robots.ox.ac.uk/pascal/VOC"
_COCO = "http://images.cocodataset.org"

VOC2012 = Archive(
    f"{_VOC}/voc2012/VOCtrainval_11-May-2012.tar", VOC_TERMS, "md5:6cd6e144f989b92b3379bac3b3de84fd"
)
VOC2010 = Archive(
    f"{_VOC}/voc2010/VOCtrainval_03-May-2010.tar", VOC_TERMS, "md5:da459979d0c395079b5c75ee67908abb"
)
DETAIL = Archive(
    "https://codalabuser.blob.core.windows.net/public/trainval_merged.json",
    "PASCAL in Detail; cite Mottaghi et al. 2014 (github.com/zhanghang1989/detail-api)",
    "sha1:169325d9f7e9047537fedca7b04de4dddf10b881",
    into="VOCdevkit/VOC2010",
)
CONTEXT_PACK = Archive(
    "https://cs.stanford.edu/~roozbeh/pascal-context/trainval.tar.gz",
    "cite Mottaghi et al. 2014 (cs.stanford.edu/~roozbeh/pascal-context)",
    into="pascal-context",
)
COCO_VAL2017 = Archive(
    f"{_COCO}/zips/val2017.zip", COCO_TERMS, "sha1:4950dc9d00dbe1c933ee0170f5797584351d2a41"
)
COCO_ANNOTATIONS2017 = Archive(
    f"{_COCO}/annotations/annotations_trainval2017.zip",
    COCO_TERMS,
    "sha1:8551ee4bb5860311e79dace7e79cb91e432e78b3",
    only=("annotations/instances_val2017.json",),
)
STUFF_MAPS = Archive(
    "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/"
    "stuffthingmaps_trainval2017.zip",
    "annotations CC BY 4.0; images under Flickr's terms (github.com/nightrome/cocostuff)",
    into="stuffthingmaps",
    only=("val2017/",),
)
COCO_VAL2014 = Archive(f"{_COCO}/zips/val2014.zip", COCO_TERMS)
COCO_ANNOTATIONS2014 = Archive(
    f"{_COCO}/annotations/annotations_trainval2014.zip",
    COCO_TERMS,
    only=("annotations/instances_val2014.json",),
)
ADE20K = Archive(
    "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
    "BSD-3 for annotations and software; images for research (groups.csail.mit.edu/vision/datasets/"
    "ADE20K/terms)",
    "sha1:219e1696abb36c8ba3a3afe7fb2f4b4606a897c7",
)

CATALOGUE: Mapping[str, Mapping[str | None, tuple[Archive, ...]]] = {
    "voc": {None: (VOC2012,)},
    "context": {"detail": (VOC2010, DETAIL), "labels459": (VOC2010, CONTEXT_PACK)},
    "cocoobject": {
        "stuffthingmaps": (COCO_VAL2017, STUFF_MAPS),
        "instances": (COCO_VAL2017, COCO_ANNOTATIONS2017),
    },
    "cocostuff": {None: (COCO_VAL2017, STUFF_MAPS)},
    "ade20k": {None: (ADE20K,)},
    "coco20i": {None: (COCO_VAL2014, COCO_ANNOTATIONS2014)},
}
"""By benchmark and variant, the default variant first."""

BY_HAND: Mapping[str, str] = {
    "cityscapes": (
        "register at www.cityscapes-dataset.com, fetch leftImg8bit_trainvaltest.zip and "
        "gtFine_trainvaltest.zip, and unpack both into {root}"
    ),
    "fss1000": (
        "fetch the archive that github.com/HKUSTCV/FSS-1000 links to, and unpack it so that "
        "{root}/fewshot_data holds the 1000 classes' folders"
    ),
    "perseg": (
        "fetch the archive that github.com/ZrrSkywalker/Personalize-SAM links to, and unpack it so "
        "that {root}/PerSeg holds Images and Annotations"
    ),
}
"""What only a person can fetch, behind a login or on a file host without stable addresses."""
