"""Systems of the papers' tables that are no methods here, and why.

Data and nothing else. That no code was found is what a search gave; whoever finds some can mend
the row by a method.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A system that is compared with and cannot be run.

    Attributes:
        name: what its method would be called.
        title: what the tables call it.
        paper: authors and venue.
        reason: why there is no method, as the end of a sentence.
        source: where the reason is from.
        reported: the pages of ``ovbench leaderboard --reported`` that have figures of it.
    """

    name: str
    title: str
    paper: str
    year: int
    reason: str
    source: str
    reported: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line: why it is out, and what can be had instead."""
        figures = (
            f"its reported figures: `ovbench leaderboard --reported -d {','.join(self.reported)}`"
            if self.reported
            else "no paper here prints figures of it"
        )
        return f"{self.title} ({self.paper} {self.year}) is left out: {self.reason}; {figures}"


_UNFOUND = "neither code nor weights were found"
_SEARCH = "a search for its page, and for a repository of its name"

LEFT_OUT: Sequence[LeftOut] = (
    LeftOut(
        "delvm", "DeLVM", "Guo et al., ICML", 2024,
        "its training labels are masks in random colours, so that how an answer becomes one "
        "object's mask is not defined; and its image codes are a second network, on a drive",
        "README and code of ggjy/DeLVM",
        ("coco20i", "fss1000", "perseg"),
    ),
    LeftOut(
        "zegformer", "ZegFormer", "Ding et al., CVPR", 2022,
        "trained on label maps, on a MaskFormer that would fit a stock class after work nobody did",
        "README and code of dingjiansw101/ZegFormer",
    ),
    LeftOut(
        "simbaseline", "SimBase", "Xu et al., ECCV", 2022,
        "trained on label maps, on a MaskFormer with DeepLab's stem, which no stock class has",
        "README and code of MendelXu/zsseg.baseline",
        ("cocostuff", "voc"),
    ),
    LeftOut(
        "viewco", "ViewCo", "Ren et al., ICLR", 2023,
        "its weights are not public, and its repository says that they cannot be",
        "README of its repository",
        ("cocoobject", "context", "voc"),
    ),
    LeftOut("pacl", "PACL", "Mukhoti et al., CVPR", 2023, _UNFOUND, _SEARCH,
            ("ade20k", "cocostuff", "context", "voc")),
    LeftOut("zeroseg", "ZeroSeg", "Chen et al., ICCV", 2023, _UNFOUND, _SEARCH,
            ("cocoobject", "context", "voc")),
    LeftOut("vil_seg", "ViL-Seg", "Liu et al., ECCV", 2022, _UNFOUND, _SEARCH,
            ("cocostuff", "context", "voc")),
    LeftOut("fossil", "FOSSIL", "Barsellotti et al., WACV", 2024, _UNFOUND, _SEARCH),
)  # fmt: skip


def left_out(name: str) -> LeftOut | None:
    """The system that a name means, however it is written, such as ``"ViL-Seg"``."""
    asked = _letters(name)
    return next((one for one in LEFT_OUT if asked in map(_letters, (one.name, one.title))), None)


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())
