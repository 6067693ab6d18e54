"""What methods are built of: networks, the way to them from pixels and back, and refinement.

The methods of this package call the same functions. Every loader takes a
:class:`~ovbench.Runtime` and hands out the miniature or the real weights as that says, and every
model has a ``checkpoint`` or ``checkpoints`` for the record.
"""

from __future__ import annotations

from ovbench.models.clip.dense import DenseFeatures
from ovbench.models.clip.last_block import Attention, attend, leave, own_attention
from ovbench.models.clip.masker import Masker, load_masker
from ovbench.models.clip.model import CLIP, load_clip
from ovbench.models.clip.pooled import AttentionPool
from ovbench.models.clip.region_tokens import RegionTrunk
from ovbench.models.clip.trunk import Heads, Trunk
from ovbench.models.diffusion.attention import AttributionRule
from ovbench.models.diffusion.looking import Looking
from ovbench.models.diffusion.model import Diffusion, Generated, Noisy, Request, load_diffusion
from ovbench.models.diffusion.prompts import Continued
from ovbench.models.diffusion.sampling import Sampling
from ovbench.models.grouping.groups import Groups
from ovbench.models.grouping.groupvit import GroupViT, load_groupvit
from ovbench.models.grouping.ovsegmentor import OVSegmentor, load_ovsegmentor
from ovbench.models.grouping.segclip import SegCLIP, load_segclip
from ovbench.models.matchers.blip import BLIP, load_blip
from ovbench.models.matchers.bridgetower import BridgeTower, load_bridgetower
from ovbench.models.matchers.matcher import (
    CrossAttention,
    ImageFeatures,
    Match,
    Matcher,
    TextPrompt,
)
from ovbench.models.patches.encoder import PatchEncoder, PatchFeatures, Reading, load_patch_encoder
from ovbench.models.patches.positions import resize_positions
from ovbench.models.patches.saliency import Saliency, load_saliency
from ovbench.models.pixels.inputs import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    fit_size,
    input_tensor,
    kept_ratio,
    pillow_tensor,
)
from ovbench.models.pixels.labels import decide, label_map
from ovbench.models.pixels.scores import Scores
from ovbench.models.pixels.windows import Windows, slide, window_starts
from ovbench.models.pixelwise.lseg import LSeg, load_lseg
from ovbench.models.pixelwise.student import Student, load_student
from ovbench.models.prompted.sam3 import SAM3, ConceptMasks, Phrases, load_sam3
from ovbench.models.regions.cuts import Cuts
from ovbench.models.regions.generator import Generator, ReadyGenerator
from ovbench.models.regions.maps import fuse, majority_vote, paint, pool
from ovbench.models.regions.sam_grids import Sam2Grid, SamGrid
from ovbench.models.regions.segments import Panoptic, Superpixels
from ovbench.models.regions.store import Masks, Regions
from ovbench.models.sam.decoding import Answers
from ovbench.models.sam.guidance import Guidance
from ovbench.models.sam.loading import load_promptable
from ovbench.models.sam.model import Sam, load_sam
from ovbench.models.sam.promptable import EncodedImage, MaskPrediction, PromptableSegmenter
from ovbench.models.sam.proposals import Proposals, ProposalSettings, propose
from ovbench.models.sam.sam2 import Sam2
from ovbench.models.seggpt import SegGPT, load_seggpt
from ovbench.models.towers.clippy import load_clippy
from ovbench.models.towers.model import Towers
from ovbench.models.towers.simseg import load_simseg
from ovbench.refine.dense_crf import DenseCRF, unary_from_probabilities
from ovbench.refine.normalized_cut import cut_masks
from ovbench.refine.pamr import pamr
from ovbench.refine.propagation import patch_graph, pixel_graph, propagate
from ovbench.refine.resample import enlarge, gaussian_blur

__all__ = [
    "BLIP",
    "CLIP",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "SAM3",
    "Answers",
    "Attention",
    "AttentionPool",
    "AttributionRule",
    "BridgeTower",
    "ConceptMasks",
    "Continued",
    "CrossAttention",
    "Cuts",
    "DenseCRF",
    "DenseFeatures",
    "Diffusion",
    "EncodedImage",
    "Generated",
    "Generator",
    "GroupViT",
    "Groups",
    "Guidance",
    "Heads",
    "ImageFeatures",
    "LSeg",
    "Looking",
    "MaskPrediction",
    "Masker",
    "Masks",
    "Match",
    "Matcher",
    "Noisy",
    "OVSegmentor",
    "Panoptic",
    "PatchEncoder",
    "PatchFeatures",
    "Phrases",
    "PromptableSegmenter",
    "ProposalSettings",
    "Proposals",
    "Reading",
    "ReadyGenerator",
    "RegionTrunk",
    "Regions",
    "Request",
    "Saliency",
    "Sam",
    "Sam2",
    "Sam2Grid",
    "SamGrid",
    "Sampling",
    "Scores",
    "SegCLIP",
    "SegGPT",
    "Student",
    "Superpixels",
    "TextPrompt",
    "Towers",
    "Trunk",
    "Windows",
    "attend",
    "cut_masks",
    "decide",
    "enlarge",
    "fit_size",
    "fuse",
    "gaussian_blur",
    "input_tensor",
    "kept_ratio",
    "label_map",
    "leave",
    "load_blip",
    "load_bridgetower",
    "load_clip",
    "load_clippy",
    "load_diffusion",
    "load_groupvit",
    "load_lseg",
    "load_masker",
    "load_ovsegmentor",
    "load_patch_encoder",
    "load_promptable",
    "load_saliency",
    "load_sam",
    "load_sam3",
    "load_segclip",
    "load_seggpt",
    "load_simseg",
    "load_student",
    "majority_vote",
    "own_attention",
    "paint",
    "pamr",
    "patch_graph",
    "pillow_tensor",
    "pixel_graph",
    "pool",
    "propagate",
    "propose",
    "resize_positions",
    "slide",
    "unary_from_probabilities",
    "window_starts",
]
