"""FreeDA's settings, each with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ovbench.adapters.parts.sliding import SlidingSettings
from ovbench.adapters.parts.templates import TemplateSet
from ovbench.harness.contract.settings import FACTOR, MANY, SIDE, require_shares, setting
from ovbench.models.diffusion.sampling import Solver

_CONFIG = "released code, configs/*/freeda_*.yml"

COLLECTIONS: Mapping[str, str] = {"index": "freeda/freeda_coco_nouns"}
"""What is made by the authors, by its name in the catalogue."""


@dataclass(frozen=True)
class FreeDASettings(SlidingSettings):
    """Settings of :class:`~ovbench.adapters.freeda.FreeDA`."""

    architecture: str = setting(
        "ViT-L-14", f"{_CONFIG}, clip_model", "open_clip's name of the CLIP of texts and windows"
    )
    pretrained: str = setting(
        "openai",
        f"{_CONFIG}, clip_weights",
        "open_clip's tag of its weights, tag@revision, or random",
        picks="clip/{architecture} {pretrained}",
    )
    encoder: str = setting(
        "dinov2_large",
        f"{_CONFIG}, backbone_model_name: vit_large_patch14_dinov2.lvd142m",
        "the encoder of patches: of the catalogue, or random",
        picks="dinov2/{encoder}",
    )
    side: int | None = setting(
        None,
        "released code, FreeDA.__init__, img_size: 518",
        "windows are squashed to a square of this side in pixels for it; none is its training size",
        most=SIDE,
    )
    prompts: TemplateSet = setting(
        "subset7",
        "released code, configs/*/eval_*.yml, template",
        "set of prompt templates whose embeddings are averaged as they are",
    )
    collection: Literal["supports", "folder", "index", "random"] = setting(
        "supports",
        "our choice, which needs no download by hand; released code: index",
        "what classes look like: pictures that Stable Diffusion makes of their names, a folder of "
        "your own, the released collection of prototypes, or random vectors, which serve to "
        "measure speed",
        picks=COLLECTIONS,
    )
    index: str | None = setting(
        None,
        "released code, README and collection_index, collection_embeddings",
        "with collection=index: the folder with faiss_index/knn.index and prototype_embeddings/; "
        "none is the place that the catalogue has for it",
    )
    folder: str | None = setting(
        None,
        "our choice: the layout of support pictures",
        "with collection=folder: where a folder for every word has its pictures; a .npy beside one "
        "may say where the word acts, (height, width) from 0 on",
    )
    neighbours: int | None = setting(
        None,
        f"{_CONFIG}, k_search: 350",
        "entries of the collection whose prototypes are averaged for a text; none is 350 of an "
        "index, else the setting pictures",
        most=100_000,
    )
    generator: str = setting(
        "stable_diffusion_v1_5",
        "our choice: the released code does not make its collection",
        "with collection=supports: what makes pictures",
        picks="stable_diffusion/{generator}",
        when={"collection": "supports"},
    )
    picture_prompt: str = setting(
        "A good picture of a {}",
        "our choice: OVDiff's, so that both share pictures; the paper has captions of COCO",
        "its prompt; {} is the name",
    )
    negative_prompt: str = setting(
        "text, low quality, blurry, cartoon, meme, low resolution, bad, poor, faded",
        "our choice: OVDiff's",
        "what no picture shall be",
    )
    pictures: int = setting(32, "our choice: OVDiff's", "pictures of a text", least=1, most=MANY)
    solver: Solver = setting("dpm-solver++", "our choice: OVDiff's", "how they are sampled")
    steps: int = setting(30, "our choice: OVDiff's", "of the solver", least=1, most=MANY)
    guidance: float = setting(8.0, "our choice: OVDiff's", "towards the prompt", most=FACTOR)
    attention_threshold: float = setting(
        0.5,
        "our choice: the released code does not make its collection",
        "a picture's patches are averaged where the attention of its name is at least this share "
        "of its peak",
        least=0,
        most=1,
    )
    regions: Literal["superpixels", "none"] = setting(
        "superpixels", f"{_CONFIG}, mask_proposer", "what patches are averaged over"
    )
    superpixel_scale: float = setting(
        100.0,
        f"{_CONFIG}, superpixel: scale; 20 on Cityscapes",
        "of Felzenszwalb's superpixels: more is larger ones",
        least=1e-3,
        most=100_000,
    )
    superpixel_sigma: float = setting(
        1.0,
        f"{_CONFIG}, sigma; 0.7 on VOC, 0.5 on Cityscapes",
        "deviation in pixels by which a window is smoothed before",
        least=0,
        most=MANY,
    )
    superpixel_smallest: int = setting(
        20,
        f"{_CONFIG}, min_size; 100 on COCO-Stuff, 50 on Cityscapes",
        "pixels of the smallest",
        least=1,
        most=1_000_000,
    )
    local_share: float = setting(
        0.8,
        f"{_CONFIG}, ensemble_dino_clip",
        "weight of regions; the rest is that of the whole window, by CLIP",
        least=0,
        most=1,
    )
    background_score: float = setting(
        0.4,
        "released code, configs/*/eval_*.yml, bg_thresh",
        "what background scores everywhere",
        least=-1,
        most=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require_shares(self, "attention_threshold", "local_share")
        if self.picture_prompt.count("{}") != 1:
            raise ValueError("picture_prompt needs one {}, where the name stands")
        if self.neighbours is not None and self.neighbours < 1:
            raise ValueError("neighbours must be positive")
        if self.side is not None and self.side < 1:
            raise ValueError("side must be positive")
