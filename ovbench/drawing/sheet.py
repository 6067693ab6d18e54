"""Strips of pictures on one page, with a legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from ovbench.drawing.colours import MAT, RGB
from ovbench.text import visible

TILE = (300, 225)
"""Width and height that every picture is fitted into."""

_GAP, _CAPTION, _COLUMNS = 10, 20, 3
_PAPER, _INK = (255, 255, 255), (40, 40, 40)
_FONT_SIZE = 14
_LEGEND_WIDTH, _LEGEND_HEIGHT = 190, 22


@dataclass(frozen=True, slots=True)
class Strip:
    """Pictures of one thing, fitted into :data:`TILE`, side by side, and what is written below."""

    pictures: Sequence[Pillow.Image]
    caption: str


def page_of(strips: Sequence[Strip], names: Mapping[str, RGB]) -> Pillow.Image:
    """Draw strips in columns, and below them what the colours mean.

    Args:
        strips: at least one.
        names: of what the colours mean.
    """
    width, height = TILE
    tiles = max(len(strip.pictures) for strip in strips)
    columns = min(len(strips), max(1, 2 * _COLUMNS // tiles))
    rows = -(-len(strips) // columns)
    cell = tiles * (width + 2) + _GAP, height + _CAPTION + _GAP
    across = max(1, (columns * cell[0]) // _LEGEND_WIDTH)
    legend_rows = -(-len(names) // across)
    size = columns * cell[0] + _GAP, rows * cell[1] + (legend_rows + 1) * _LEGEND_HEIGHT
    page = Pillow.new("RGB", size, _PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(_FONT_SIZE)
    for place, strip in enumerate(strips):
        left, top = _GAP + place % columns * cell[0], _GAP + place // columns * cell[1]
        for number, picture in enumerate(strip.pictures):
            page.paste(_matted(picture), (left + number * (width + 2), top))
        caption = _shortened(strip.caption, font, len(strip.pictures) * width)
        draw.text((left, top + height + 2), caption, _INK, font)
    for place, (name, colour) in enumerate(names.items()):
        left = _GAP + place % across * _LEGEND_WIDTH
        top = _GAP + rows * cell[1] + place // across * _LEGEND_HEIGHT
        draw.rectangle((left, top, left + 20, top + 14), colour, _INK)
        draw.text((left + 28, top - 2), _shortened(name, font, _LEGEND_WIDTH - 34), _INK, font)
    return page


def _matted(picture: Pillow.Image) -> Pillow.Image:
    tile = Pillow.new("RGB", TILE, MAT)
    tile.paste(picture, ((TILE[0] - picture.width) // 2, (TILE[1] - picture.height) // 2))
    return tile


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    text = visible(text)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"
