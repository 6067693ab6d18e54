"""Why a pixel has its label, on one page."""

from __future__ import annotations

from PIL import Image as Pillow
from PIL import ImageDraw

from ovbench.drawing.pictures import fitted, outlined
from ovbench.drawing.sheet import TILE, Strip, page_of
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.explaining import Evidence, Explanation

_ARM = 12
_MARK, _RIM = (230, 25, 75), (255, 255, 255)


def explanation_page(
    image: Image, x: int, y: int, answer: str, explanation: Explanation
) -> Pillow.Image:
    """Draw the image with the pixel, and below it what each piece of evidence shows.

    Args:
        x, y: of the pixel.
        answer: the label's name.
    """
    query = Strip([_marked(image, x, y)], f"pixel {x},{y}: {answer}")
    return page_of([query, *map(_strip, explanation.evidence)], {})


def evidence_words(evidence: Evidence) -> str:
    """Such as ``sd 0.83: part 5 of the foreground of 'dog'``."""
    return f"{evidence.source} {evidence.similarity:.2f}: {evidence.finding}"


def _strip(evidence: Evidence) -> Strip:
    pictures = [outlined(one.image, one.mask, TILE) for one in evidence.exhibits]
    return Strip(pictures, evidence_words(evidence))


def _marked(image: Image, x: int, y: int) -> Pillow.Image:
    """The picture with a cross whose middle is left open, so that the pixel is seen."""
    shown = fitted(image, TILE)
    height, width = image.shape[:2]
    across, down = (x + 0.5) * shown.width / width, (y + 0.5) * shown.height / height
    draw = ImageDraw.Draw(shown)
    for colour, thickness in ((_RIM, 4), (_MARK, 2)):
        for step in (-1, 1):
            near, far = step * _ARM / 3, step * _ARM
            draw.line((across + near, down, across + far, down), colour, thickness)
            draw.line((across, down + near, across, down + far), colour, thickness)
    return shown
