"""ReCo's settings, each with its source."""

from __future__ import annotations

from dataclasses import dataclass

from ovbench.adapters.parts.sliding import SlidingSettings
from ovbench.adapters.parts.templates import TemplateSet
from ovbench.adapters.reco.cosegment import Columns
from ovbench.harness.contract.settings import MANY, SIDE, require_shares, setting


@dataclass(frozen=True)
class ReCoSettings(SlidingSettings):
    """Settings of :class:`ReCo`."""

    references: str = setting(
        "reco_coco_stuff",
        "released code, README: ready vectors of three benchmarks' categories",
        "what classes look like: vectors of the catalogue, random, or a folder of pictures, "
        "written as a path with a slash, in which they are looked for",
        picks="reco/{references}",
    )
    encoder: str = setting(
        "deit_s_sin_dist",
        "paper and released code, encoder_arch DeiT-S/16-SIN",
        "what looks at places, of the catalogue, random_deit or random",
        picks="dino/{encoder}",
    )
    dense_architecture: str = setting(
        "RN50x16", "paper and released code, dense_clip_arch", "open_clip's name of the dense CLIP"
    )
    dense_pretrained: str = setting(
        "openai",
        "paper and released code",
        "open_clip's tag of its weights, tag@revision, or random",
        picks="clip/{dense_architecture} {dense_pretrained}",
    )
    retrieval_architecture: str = setting(
        "ViT-L-14-336",
        "paper and released code, clip_arch",
        "open_clip's name of the CLIP that looks pictures up; loaded for a folder alone",
    )
    retrieval_pretrained: str = setting(
        "openai",
        "paper and released code",
        "open_clip's tag of its weights, tag@revision, or random",
    )
    prompts: TemplateSet = setting(
        "maskclip85",
        "released code, utils/extract_text_embeddings.py, MaskCLIP's",
        "set of prompt templates whose embeddings are averaged",
    )
    pictures: int = setting(
        50,
        "paper and released code, n_imgs",
        "pictures per class, of those in the folder that CLIP finds most like it",
        most=MANY,
    )
    picture_side: int = setting(
        224,
        "released code, datasets/imagenet1k.py",
        "side in pixels of the square in a picture's middle that is looked at",
        most=SIDE,
    )
    context: tuple[str, ...] = setting(
        ("tree", "sky", "building", "road", "person"),
        "paper and released code, context_categories",
        "what often surrounds things, and is kept out of a class's place",
    )
    columns: Columns = setting(
        "released",
        "released code, networks/reco.py, by which the published vectors were made; paper: own",
        "where a picture's nearest place is looked for: own, or also in pictures behind it",
    )
    sharpness: float = setting(
        10.0, "released code, temperature", "factor on the dense CLIP's cosines before a sigmoid"
    )
    short_side: int = setting(
        320,
        "released code, utils/utils.py, the nearest pixel each",
        "shorter side of the input in pixels",
        most=SIDE,
    )
    window: int = setting(
        320,
        "released code, which sees one square in the middle and scores nothing else",
        "side of windows in pixels; 0 is the whole image",
        most=SIDE,
    )
    window_stride: int = setting(
        320,
        "our choice: few windows cover all",
        "pixels between windows, no more than one is long",
        most=SIDE,
    )
    background_score: float = setting(
        0.5,
        "our choice: no benchmark of the paper has background",
        "what background scores everywhere",
    )
    crf_iterations: int = setting(
        10,
        "paper and released code, utils/crf.py",
        "of the dense CRF on the input's size; 0 is off",
        most=MANY,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require_shares(self, "background_score")
        if self.pictures < 1 or self.picture_side < 1:
            raise ValueError("pictures and picture_side must be positive")
        if self.crf_iterations < 0:
            raise ValueError("crf_iterations must not be negative")
        if self.sharpness <= 0:
            raise ValueError("sharpness must be positive")
