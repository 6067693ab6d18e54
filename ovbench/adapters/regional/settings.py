"""Which generator makes a method's regions, and with what settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from ovbench.harness.contract.settings import MANY, setting
from ovbench.models.regions.cuts import Cuts, PanopticCuts
from ovbench.models.regions.generator import Generator
from ovbench.models.regions.generators import GeneratorName
from ovbench.models.regions.sam_grids import Sam2Grid, SamGrid
from ovbench.models.regions.segments import Panoptic, Superpixels

_BOTH = "SamAutomaticMaskGenerator and SAM2AutomaticMaskGenerator"


@dataclass(frozen=True)
class RegionSettings:
    """Settings of the masks; a method says the values of its own code in its subclass."""

    regions: GeneratorName = setting(
        "sam2_grid",
        "released codes of CorrCLIP and TextRegion: SAM 2",
        "what makes the masks: SAM or SAM 2 at points of a grid, a panoptic network, SLIC's "
        "superpixels, or normalised cuts of DINO's keys, as CutLER or LaVG has them",
    )
    sam2: str = setting(
        "sam2.1_hiera_large",
        "released codes: Hiera-L",
        "with regions=sam2_grid: the SAM 2, of the catalogue, a hub id, or random",
        picks="sam/{sam2}",
        when={"regions": "sam2_grid"},
    )
    sam: str = setting(
        "sam_vit_h",
        "segment-anything's default",
        "with regions=sam_grid: the SAM, of the catalogue, or random",
        picks="sam/{sam}",
        when={"regions": "sam_grid"},
    )
    points_per_side: int = setting(
        32, _BOTH, "on the grids: of points along a side", least=1, most=256
    )
    predicted_iou: float = setting(
        0.8,
        "SAM2AutomaticMaskGenerator; SAM's has 0.88",
        "on the grids: masks whose predicted IoU is not above it are dropped",
        least=0,
    )
    stability: float = setting(
        0.95, _BOTH, "on the grids: masks whose stability is below it are dropped", least=0, most=1
    )
    box_overlap: float = setting(
        0.7, _BOTH, "on the grids: of masks whose boxes have a higher IoU one is kept", least=0,
        most=1,
    )  # fmt: skip
    multimask: bool = setting(
        True,
        "SAM2AutomaticMaskGenerator, multimask_output",
        "with regions=sam2_grid: ask for three masks a point instead of one",
    )
    panoptic: str = setting(
        "mask2former_swin_large_coco_panoptic",
        "our choice: CorrCLIP's released code has it through transformers, too",
        "with regions=panoptic: the network, of the catalogue or a hub id",
        picks="panoptic/{panoptic}",
        when={"regions": "panoptic"},
    )
    segment_score: float = setting(
        0.5,
        "transformers, Mask2FormerImageProcessor; EoMT's own code: 0.8",
        "with regions=panoptic: probability below which a segment is dropped",
        least=0,
        most=1,
    )
    join_stuff: bool = setting(
        False,
        "transformers, label_ids_to_fuse=None; EoMT's own code joins them",
        "with regions=panoptic: segments of one of COCO's classes of stuff are one",
    )
    superpixels: int = setting(
        100, "scikit-image, slic", "with regions=superpixels: of them, about", least=1,
        most=10 * MANY,
    )  # fmt: skip
    cuts_of: str = setting(
        "dino_vitb8",
        "CutLER, section 3.2",
        "with regions=cuts and panoptic_cuts: the DINO whose keys are cut, of the catalogue or a "
        "hub id",
        picks="dino/{cuts_of}",
        when={"regions": ("cuts", "panoptic_cuts")},
    )


def generator_of(settings: RegionSettings) -> Generator:
    """The generator that the settings name."""
    if settings.regions == "panoptic":
        return Panoptic(
            settings.panoptic, threshold=settings.segment_score, join_stuff=settings.join_stuff
        )
    if settings.regions == "superpixels":
        return Superpixels(settings.superpixels)
    if settings.regions == "cuts":
        return Cuts(settings.cuts_of)
    if settings.regions == "panoptic_cuts":
        return PanopticCuts(settings.cuts_of)
    grid = (
        settings.points_per_side,
        settings.predicted_iou,
        settings.stability,
        settings.box_overlap,
    )
    if settings.regions == "sam_grid":
        return SamGrid(settings.sam, *grid)
    if settings.regions == "sam2_grid":
        return Sam2Grid(settings.sam2, *grid, settings.multimask)
    assert_never(settings.regions)
