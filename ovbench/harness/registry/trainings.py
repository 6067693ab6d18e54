"""What the weights of the catalogue were trained with, and so each method.

One row per kind of weights: a method has what it loads with the settings at hand. Another package
says it of its own weights in its method's card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from ovbench.harness.contract.card import MethodCard, Pick, picked
from ovbench.harness.contract.supervision import Labels, Supervision, Training, joined

_BLIP: Mapping[str, Labels] = {
    "COCO": "captions", "Visual Genome": "captions", "CC3M": "captions", "CC12M": "captions",
    "SBU": "captions", "LAION-115M": "captions",
}  # fmt: skip
_BLIP_SOURCE = "Li et al., ICML 2022, section 4.1"
_FLOSS = "README of yasserben/FLOSS: templates are chosen on the benchmark's training pictures"
_GROUPVIT = "README of NVlabs/GroupViT"
_STUDENT = "README of chongzhou96/MaskCLIP, and `pretrained` of its configurations"

TRAININGS: Mapping[str, Training] = {
    "clip/* openai": Training(
        {"OpenAI's 400 million pairs": "captions"}, "Radford et al., ICML 2021, section 2.2"
    ),
    "clip/* laion2b*": Training({"LAION-2B": "captions"}, "tags of open_clip"),
    "clip/* metaclip_fullcc": Training(
        {"MetaCLIP's 2.5 billion pairs": "captions"}, "Xu et al., ICLR 2024"
    ),
    "clip/* dfn2b": Training({"DFN-2B": "captions"}, "Fang et al., ICLR 2024"),
    "clip/* webli": Training({"WebLI": "captions"}, "Tschannen et al., arXiv:2502.14786"),
    "clip/PE-Core-* meta": Training({"Meta's pairs": "captions"}, "Bolya et al., NeurIPS 2025"),
    "blip/blip_coco": Training(_BLIP, _BLIP_SOURCE),
    "blip/blip_flickr": Training({**_BLIP, "Flickr30k": "captions"}, _BLIP_SOURCE),
    "blip_captioner/blip_captioning_large": Training(_BLIP, _BLIP_SOURCE),
    "bridgetower/bridgetower_large_itm": Training(
        {"COCO": "captions", "Visual Genome": "captions", "CC3M": "captions", "SBU": "captions"},
        "Xu et al., AAAI 2023, section 4.1",
    ),
    "dino/dino_*": Training({"ImageNet-1k": "images"}, "Caron et al., ICCV 2021, section 4"),
    "dino/mae_*": Training({"ImageNet-1k": "images"}, "He et al., CVPR 2022, section 4"),
    "dino/deit_s_sin_dist": Training(
        {"stylised ImageNet-1k": "classes"}, "Naseer et al., NeurIPS 2021, section 3.2"
    ),
    "dinov2/dinov2_*": Training({"LVD-142M": "images"}, "Oquab et al., TMLR 2024, section 3"),
    "dinov2/dinov3_*": Training({"LVD-1689M": "images"}, "model cards of facebook/dinov3-*"),
    "floss/floss_*_voc20": Training({"PASCAL VOC": "images"}, _FLOSS),
    "floss/floss_*_context59": Training({"PASCAL Context": "images"}, _FLOSS),
    "floss/floss_*_cocostuff": Training({"COCO": "images"}, _FLOSS),
    "floss/floss_*_ade20k": Training({"ADE20K": "images"}, _FLOSS),
    "floss/floss_*_cityscapes": Training({"Cityscapes": "images"}, _FLOSS),
    "radio/c_radio_v3_*": Training(
        {"WebLI": "captions", "LVD-142M": "images", "SA-1B": "outlines"},
        "README of NVlabs/RADIO: of its teachers SigLIP 2, DINOv2, SAM; images not named there",
    ),
    "groupvit/groupvit_gcc_yfcc*": Training(
        {"CC3M": "captions", "CC12M": "captions", "YFCC14M": "captions"}, _GROUPVIT
    ),
    "groupvit/groupvit_gcc_redcaps*": Training(
        {"CC3M": "captions", "CC12M": "captions", "RedCaps": "captions"}, _GROUPVIT
    ),
    "ovsegmentor/ovsegmentor_vitb_bert": Training(
        {"CC12M": "captions", "ImageNet-1k": "images"},
        "configs/ovsegmentor of Jazzcharles/OVSegmentor: a third of CC12M, begun from DINO",
    ),
    "segclip/segclip_vitb16": Training(
        {"COCO": "captions", "CC3M": "captions", "OpenAI's 400 million pairs": "captions"},
        "README of ArrowLuo/SegCLIP, begun from CLIP",
    ),
    "tcl/tcl_vitb16": Training(
        {"CC3M": "captions", "CC12M": "captions"}, "configs/tcl.yml of kakaobrain/tcl"
    ),
    "clip_dinoiser/clip_dinoiser_vitb16": Training(
        {"ImageNet": "images"}, "configs/clip_dinoiser.yaml: a thousand pictures, without labels"
    ),
    "talk2dino/talk2dino_*": Training(
        {"COCO": "captions"}, "README of lorebianchi98/Talk2DINO: COCO's captions of 2014"
    ),
    "freeda/freeda_coco_nouns": Training(
        {"COCO": "captions", "LAION-5B": "captions", "LVD-142M": "images"},
        "Barsellotti et al., CVPR 2024: pictures that Stable Diffusion makes of COCO's captions",
    ),
    "dinotxt*/dinotxt_dinov2_*": Training(
        {"LVD-142M": "images", "Meta's pairs": "captions"},
        "Jose et al., CVPR 2025, abstract: curated pairs, without a name; on a frozen DINOv2",
    ),
    "dinotxt/dinotxt_dinov3_*": Training(
        {"LVD-1689M": "images", "LVTD-2300M": "captions"},
        "dinov3/hub/dinotxt.py of facebookresearch/dinov3; on a frozen DINOv3",
    ),
    "maskclip_plus/*_voc": Training(
        {"PASCAL VOC": "images", "ImageNet-1k": "classes"}, _STUDENT
    ),
    "maskclip_plus/*_context": Training(
        {"PASCAL Context": "images", "ImageNet-1k": "classes"}, _STUDENT
    ),
    "maskclip_plus/*_cocostuff": Training({"COCO": "images", "ImageNet-1k": "classes"}, _STUDENT),
    "clipseg/clipseg_rd64_refined": Training(
        {"PhraseCut": "masks", "OpenAI's 400 million pairs": "captions"},
        "experiments/phrasecut.yaml of timojl/clipseg, begun from CLIP",
    ),
    "lseg/lseg_demo_e200": Training(
        {"ADE20K": "masks", "ImageNet-21k": "classes"},
        "isl-org/lang-seg, lseg_app.py, and the backbone that its modules/models name",
    ),
    "catseg/catseg_*": Training(
        {"COCO": "masks", "OpenAI's 400 million pairs": "captions"},
        "configs/config.yaml of KU-CVLAB/CAT-Seg: COCO-Stuff's label maps, begun from CLIP",
    ),
    "simseg/simseg_*": Training(
        {"CC3M": "captions", "CC12M": "captions", "ImageNet": "classes"},
        "Yi et al., CVPR 2023, section 4.1",
    ),
    "clippy/clippy_5k": Training(
        {"CC12M": "captions", "ImageNet-1k": "images"}, "README of kahnchana/clippy: from DINO"
    ),
    "reco/reco_*": Training({"ImageNet-1k": "images"}, "README of NoelShin/reco"),
    "seggpt/seggpt_vit_large": Training(
        {"ADE20K": "masks", "COCO": "masks", "PASCAL VOC": "masks", "Cityscapes": "masks",
         "LIP": "masks", "PACO": "masks", "CHASE DB1, DRIVE, HRF, STARE": "masks",
         "iSAID": "masks", "LoveDA": "masks"},
        "Wang et al., ICCV 2023, section 4.1",
    ),
    "painter/painter_vit_large": Training(
        {"ADE20K": "masks", "COCO": "masks"},
        "Painter/docs/DATA.md of baaivision/Painter, which has depth and restoration besides",
    ),
    "stable_diffusion/stable_diffusion_*": Training(
        {"LAION-5B": "captions"}, "model cards: subsets of LAION-5B"
    ),
    "florence2/florence2_*": Training(
        {"FLD-5B": "masks"},
        "Xiao et al., CVPR 2024, section 4: captions, boxes and masks by other models, on pictures "
        "of ImageNet-22k, Objects365, Open Images, CC12M and LAION",
    ),
    "panoptic/eomt_large_coco_panoptic": Training(
        {"COCO": "masks", "LVD-142M": "images"},
        "model card of tue-mps/coco_panoptic_eomt_large_640, begun from DINOv2",
    ),
    "panoptic/mask2former_swin_large_coco_panoptic": Training(
        {"COCO": "masks", "ImageNet-21k": "classes"},
        "Cheng et al., CVPR 2022, section 4.1 and table 1: Swin-L of ImageNet-22K",
    ),
    "sam/sam_vit_*": Training({"SA-1B": "outlines"}, "Kirillov et al., ICCV 2023, section 5"),
    "sam/sam2.1_hiera_*": Training(
        {"SA-1B": "outlines", "SA-V": "outlines", "ImageNet-1k": "images"},
        "Ravi et al., ICLR 2025, sections 4 and 5: begun from MAE's Hiera; an internal set "
        "of videos besides, masks without names as in SA-1B",
    ),
    "grounding_dino/grounding_dino_tiny": Training(
        {"Objects365": "boxes", "GoldG": "boxes", "Cap4M": "boxes", "ImageNet-1k": "classes"},
        "Liu et al., ECCV 2024, on Swin-T: GoldG has pictures of COCO, and Cap4M's boxes are a "
        "detector's",
    ),
    "owlv2/owlv2_base_patch16_ensemble": Training(
        {"WebLI": "boxes", "COCO": "boxes", "OpenAI's 400 million pairs": "captions"},
        "google-research/scenic, owl_vit/configs/owl_v2_clip_b16.py: boxes of OWL-ViT, then "
        "the base classes of LVIS, whose pictures are COCO's; begun from CLIP",
    ),
    "sam3/sam3": Training(
        {"SA-Co": "masks", "Meta's pairs": "captions"},
        "Carion et al., arXiv:2511.16719: begun from the Perception Encoder",
    ),
    "saliency/found_dino_vits8": Training(
        {"DUTS-TR": "images"}, "Siméoni et al., CVPR 2023, section 4"
    ),
}  # fmt: skip
"""By ``"role/name"`` of the weights, in which ``*`` stands for anything."""


def training_of(checkpoint: str) -> Training | None:
    """What ``"role/name"`` was trained with; None where nobody says it.

    A revision behind ``@`` is the same training.
    """
    name = checkpoint.partition("@")[0]
    rows = (row for pattern, row in TRAININGS.items() if fnmatchcase(name, pattern))
    return next(rows, None)


def supervision_of(
    card: MethodCard | None,
    picks: Sequence[Pick] = (),
    settings: Mapping[str, str] | None = None,
) -> Supervision | None:
    """What a method was trained with, None where it has no card.

    Args:
        picks: its settings that choose weights.
        settings: the values of these; the defaults of those that are not given.
    """
    if card is None:
        return None
    if card.trained:
        return Supervision(dict(card.trained))
    # What has no weights of its own, such as a tokenizer, learned nothing.
    loaded = picked(card.weights, picks, settings or {})
    found = {name: training_of(name) for name in loaded}
    return Supervision(
        joined(row.data for row in found.values() if row),
        tuple(name for name, row in found.items() if row is None),
    )
