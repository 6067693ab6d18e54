"""Class names that benchmarks run together, turn round or leave in doubt, as one would say them.

What ActiveSAM's table has (activesam/prompt_expansion/lexical.py), looked up by letters and digits
alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_RUN_TOGETHER = (
    "traffic light", "traffic sign", "potted plant", "tv monitor", "window pane", "coffee table",
    "street light", "sign board", "arcade machine", "kitchen island", "dirt track",
    "chest of drawers", "television receiver", "bed clothes", "sports ball", "baseball bat",
    "baseball glove", "tennis racket", "wine glass", "cell phone", "hair drier", "fire hydrant",
    "stop sign", "parking meter", "dining table",
)  # fmt: skip
_SAID_OTHERWISE: Mapping[str, str] = {
    "conveyerbelt": "conveyor belt",
    "aeroplane": "airplane",
    "motorbike": "motorcycle",
    "wallbrick": "brick wall",
    "wallconcrete": "concrete wall",
    "wallstone": "stone wall",
    "walltile": "tile wall",
    "wallwood": "wooden wall",
    "wallpanel": "wall panel",
    "floormarble": "marble floor",
    "floorstone": "stone floor",
    "floortile": "tile floor",
    "floorwood": "wooden floor",
    "ceilingtile": "tile ceiling",
    "windowblind": "window blind",
    "tie": "necktie",
    "remote": "remote control",
    "mouse": "computer mouse",
    "monitor": "computer monitor",
    "ashcan": "trash can",
    "plaything": "toy",
    "buffet": "sideboard",
}


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", name.lower())


_SPOKEN = {**{_letters(name): name for name in _RUN_TOGETHER}, **_SAID_OTHERWISE}


def spoken(name: str) -> str:
    """A name as one would say it; itself where the table has none."""
    return _SPOKEN.get(_letters(name), name)
