"""SimSeg: a vision transformer and BERT that learned from captions by their strongest places.

Yi et al., "A Simple Framework for Text-Supervised Semantic Segmentation" (CVPR 2023); released
code: github.com/muyangyi/SimSeg.
"""

from __future__ import annotations

from typing import Any

from ovbench.harness.contract.runtime import Runtime
from ovbench.models.towers.model import Towers
from ovbench.models.towers.release import Release


def bert(**sizes: Any) -> Any:
    """BERT without its pooler, at the size of bert-base-uncased or of a ``BertConfig``'s values."""
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(**sizes), add_pooling_layer=False)


SIMSEG = Release(
    role="simseg",
    title="SimSeg ViT-B/16",
    tokenizer="bert_base_uncased",
    longest=25,  # configs/clip/simseg.vit-*.yaml, max_length
    text=bert,
    joint=512,
    parts={
        "image": "image_encoder.model.model.",
        "text": "text_encoder.model.model.",
        "image_projection": "image_projection.linear.",
        "text_projection": "text_projection.linear.",
    },
    # The loss's own number, and a count from 0 that older versions of transformers kept.
    beside=("loss.temperature", "text_encoder.model.model.embeddings.position_ids"),
    pool="largest",
)


def load_simseg(name: str, runtime: Runtime) -> Towers:
    """SimSeg by :meth:`~ovbench.models.towers.release.Release.load`, such as ``"simseg_vitb"``."""
    return SIMSEG.load(name, runtime)
