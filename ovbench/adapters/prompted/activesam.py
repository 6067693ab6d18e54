"""ActiveSAM: SAM 3 is asked only for the classes that a small picture seems to show.

Tien and Shen, "ActiveSAM: Image-Conditional Class Pruning for Fast and Accurate Open-Vocabulary
Segmentation" (arXiv:2606.16996); released code: github.com/VILA-Lab/ActiveSAM. Of its context
tokens those of similar names are here; WordNet's hypernyms, which need its database, are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ovbench.adapters.parts.published import eight
from ovbench.adapters.prompted.sam3 import Sam3Method, Sam3Settings
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.settings import setting

_CODE = "released code, configs/base_config.py"


@dataclass(frozen=True)
class ActiveSAMSettings(Sam3Settings):
    """Settings of :class:`ActiveSAM`; see :class:`Sam3Settings` for what the others mean."""

    confidence: float = setting(
        0.3,
        f"{_CODE}, confidence_threshold",
        "an instance counts if the product of its score and of the presence is higher",
        least=0,
        most=1,
    )
    background_rule: Literal["score", "margin"] = setting(
        "margin",
        "released code, activesam/background/mabc.py",
        "what background_below is compared with: the best score, or that times the root of its "
        "distance to the next",
    )
    names: Literal["given", "spoken"] = setting(
        "spoken",
        "released code, activesam/prompt_expansion/lexical.py",
        "ask by the names that are given, or as one would say them (brick wall for wallbrick)",
    )
    neighbours: int = setting(
        2,
        f"{_CODE}, neighbor_tokens; its two hypernym_tokens are left out",
        "words of the most similar other names that stand behind each prompt",
        most=64,
    )
    most_active: int = setting(
        40,
        f"{_CODE}, pruner_max_active",
        "ask only for so many queries, those that a preview finds present; 0 asks for all, and so "
        "do vocabularies that are no larger",
        most=65536,
    )


class ActiveSAM(Sam3Method):
    """SAM 3 with a preview."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="ActiveSAM: SAM 3, asked for what a small picture seems to show",
        kind="mask-supervised",
        paper="Tien and Shen, arXiv",
        year=2026,
        backbones=("SAM 3",),
        weights=("sam3/sam3",),
        code_licence="mit",
    )
    Settings = ActiveSAMSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    published: ClassVar[Sequence[Published]] = eight(
        names="segearth",
        source="released code, configs/cfg_*.py",
        voc21={"background_below": 0.4},
        context60={"background_below": 0.1},
        cocoobject={"background_below": 0.4},
        voc20={},
        context59={},
        cocostuff={},
        ade20k={},
        cityscapes={},
    )
