"""A fixed size for pictures, as a sweep gives them to a method."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image as Pillow

from ovbench.errors import UsageError
from ovbench.harness.contract.datasets import Sample


@dataclass(frozen=True, slots=True)
class ImageSize:
    """Pixels; the aspect ratio of a picture is not kept, so that all cost the same."""

    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> ImageSize | None:
        """``"96"`` is a square, ``"512x384"`` is width × height, ``"native"`` is None.

        Raises:
            UsageError: anything else.
        """
        if text == "native":
            return None
        found = re.fullmatch(r"([1-9]\d{0,5})(?:x([1-9]\d{0,5}))?", text)
        if found is None:
            raise UsageError(
                f"size {text!r}: write native, a side such as 96, or width x height such as 512x384"
            )
        width, height = found.groups()
        return cls(int(width), int(height or width))

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    def resize(self, sample: Sample) -> Sample:
        """The sample at this size: its picture bilinearly, its labels by nearest neighbour."""
        size = self.width, self.height
        image = Pillow.fromarray(sample.image).resize(size, Pillow.Resampling.BILINEAR)
        label = Pillow.fromarray(sample.label).resize(size, Pillow.Resampling.NEAREST)
        return replace(sample, image=np.array(image), label=np.array(label))
