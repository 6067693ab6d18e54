"""CLIPpy: DINO and Sentence-T5, trained further on captions so that the strongest place speaks.

Ranasinghe et al., "Perceptual Grouping in Contrastive Vision-Language Models" (ICCV 2023). Its
authors' weights are not public. These are kahnchana's, of a smaller training on CC12M
(github.com/kahnchana/clippy).
"""

from __future__ import annotations

from typing import Any

from ovbench.harness.contract.runtime import Runtime
from ovbench.models.towers.model import Towers
from ovbench.models.towers.release import Release

# What CLIP was trained with, and open_clip's evaluation has by default.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def sentence_t5(**sizes: Any) -> Any:
    """T5's encoder at the size of sentence-t5-base, or of a ``T5Config``'s values.

    That is the first T5's, not that of version 1.1.
    """
    from transformers import T5Config, T5EncoderModel

    base = {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_heads": 12}
    return T5EncoderModel(T5Config(**(sizes or base)))


CLIPPY = Release(
    role="clippy",
    title="CLIPpy ViT-B/16",
    tokenizer="sentence_t5_base",
    longest=256,  # as sentence-transformers has it for this model
    text=sentence_t5,
    joint=None,
    parts={
        "image": "visual.trunk.",
        "text": "text.0.auto_model.",
        "text_projection": "text.2.linear.",
    },
    beside=("logit_scale",),
    pool="mean",
    positions="dino",  # notebooks/infer_model.py, at other sizes than 224
)


def load_clippy(name: str, runtime: Runtime) -> Towers:
    """CLIPpy by :meth:`~ovbench.models.towers.release.Release.load`, such as ``"clippy_5k"``."""
    return CLIPPY.load(name, runtime)
