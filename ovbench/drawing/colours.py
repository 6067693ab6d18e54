"""Colours that stay apart."""

from __future__ import annotations

import colorsys
from typing import TypeAlias

RGB: TypeAlias = tuple[int, int, int]

MAT: RGB = (238, 238, 238)
"""Around pictures, and where nothing is scored."""
BACKGROUND: RGB = (70, 70, 80)
"""Of the background label."""

# Saturation and brightness in turn, so that the many colours of a long legend stay apart.
_SHADES = ((0.85, 0.95), (0.55, 0.75), (0.95, 0.6))
_GOLDEN_RATIO = 0.618034


def nth_colour(place: int) -> RGB:
    """The colour of a place in a legend; the first places have the most different ones."""
    saturation, brightness = _SHADES[place % len(_SHADES)]
    red, green, blue = colorsys.hsv_to_rgb(place * _GOLDEN_RATIO % 1, saturation, brightness)
    return round(255 * red), round(255 * green), round(255 * blue)


MISSED: RGB = (0, 114, 178)
"""A class that was answered with background."""
INVENTED: RGB = (230, 159, 0)
"""Background that was answered with a class."""
MISTAKEN: RGB = (204, 40, 120)
"""A class that was answered with another one."""
