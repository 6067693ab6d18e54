"""LSeg: a network that learned from label maps to draw every pixel to the text of its class.

Li, Weinberger, Belongie, Koltun and Ranftl, "Language-driven Semantic Segmentation", ICLR 2022;
released code: github.com/isl-org/lang-seg.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from ovbench.adapters.parts.published import eight
from ovbench.adapters.parts.sliding import by_window
from ovbench.adapters.parts.templates import TemplateSet
from ovbench.adapters.pixelwise.by_texts import ByTexts
from ovbench.adapters.pixelwise.sizes import Grid, side_lengths
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import SIDE, setting
from ovbench.harness.contract.stages import stage
from ovbench.models.clip.model import load_clip
from ovbench.models.pixels.inputs import normalised, pixels_of
from ovbench.models.pixels.scores import Scores
from ovbench.models.pixelwise.lseg import load_lseg

LARGEST = 8.0
"""No scale is larger: memory and time grow with its square."""


@dataclass(frozen=True)
class LSegSettings:
    """Settings of :class:`LSegMethod`."""

    architecture: str = setting(
        "ViT-B-32",
        "released code, modules/models/lseg_vit.py",
        "open_clip's name of the CLIP whose texts the network was trained with",
    )
    pretrained: str = setting(
        "openai",
        "released code, modules/models/lseg_vit.py",
        "open_clip's tag of its weights, tag@revision, or random",
        picks="clip/ViT-B-32 {pretrained}",
    )
    weights: str = setting(
        "lseg_demo_e200",
        "released code, README: the model for its demo",
        "the network: of the catalogue, or random",
        picks="lseg/{weights}",
    )
    prompts: TemplateSet = setting(
        "bare",
        "released code, modules/models/lseg_net.py: a label as it is",
        "set of prompt templates whose embeddings are averaged",
    )
    base_side: int | None = setting(
        None,
        "released code, modules/lseg_module.py, base_size: 520 for a network trained on 480 pixels",
        "longer side of the picture at the scale 1, in pixels; none is 13/12 of the training side",
        most=SIDE,
    )
    scales: tuple[float, ...] = setting(
        (0.5, 0.75, 1.0, 1.25, 1.5, 1.75),
        "released code, lseg_app.py and test_lseg.py",
        "sizes of the picture whose scores are added, of base_side",
        most=LARGEST,
    )
    window: int | None = setting(
        None,
        "released code, modules/lseg_module.py, crop_size: 480",
        "side of windows in pixels, a shorter picture is filled up with black; none is the side "
        "that the network was trained on",
        most=SIDE,
    )
    window_stride: int | None = setting(
        None,
        "released code, additional_utils/models.py: two thirds of crop_size, 320",
        "pixels between windows, no more than one is long; none is two thirds of the training side",
        most=SIDE,
    )
    flip: bool = setting(
        True, "released code, lseg_app.py and test_lseg.py", "see every window mirrored as well"
    )

    def __post_init__(self) -> None:
        for name in ("base_side", "window", "window_stride"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be positive")
        if not self.scales or min(self.scales) <= 0:
            raise ValueError("scales must be positive, and there must be one")


class LSegMethod(ByTexts):
    """Cosines of texts with the vectors of pixels, at six sizes and mirrored."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="LSeg: pixels that learned from label maps to lie near the text of their class",
        kind="mask-supervised",
        paper="Li et al., ICLR",
        year=2022,
        backbones=("ViT", "CLIP"),
        weights=("clip/ViT-B-32 openai", "lseg/lseg_demo_e200"),
        code_licence="mit",
    )
    Settings = LSegSettings
    published: ClassVar[Sequence[Published]] = eight(
        names="lseg",
        source="released code, test_lseg.py and label_files/ade20k_objectInfo150.txt",
        voc21=None,
        context60=None,
        cocoobject=None,
        voc20=None,
        context59=None,
        cocostuff=None,
        ade20k={},
        cityscapes=None,
    )
    SIZES: ClassVar[Mapping[str, float]] = {
        "base_side": 520 / 480, "window": 1, "window_stride": 320 / 480,
    }  # fmt: skip
    """Of the training side, where the settings name no pixels."""

    # Half a million places of 512 numbers take 1 GiB.
    at_a_time: ClassVar[int] = 4
    settings: LSegSettings

    def __init__(self, settings: LSegSettings, runtime: Runtime) -> None:
        self._network = load_lseg(settings.weights, runtime)
        sizes: dict[str, Any] = {
            name: round(self._network.side * factor)
            for name, factor in self.SIZES.items()
            if getattr(settings, name) is None
        }
        self.settings = replace(settings, **sizes)
        self.clip = load_clip(settings.architecture, settings.pretrained, runtime)
        self.checkpoints = (self.clip.checkpoint, *self._network.checkpoints)
        self.joint = self._network.joint
        self._refuse_windows_that_cannot_be(by_default=settings.window_stride is None)

    def scores(self, image: Image) -> Scores:
        """See :class:`~ovbench.adapters.pixelwise.by_texts.ByTexts`.

        A window of 150 classes takes 35 MB, and by default a picture has some 16 of them.
        """
        settings, network = self.settings, self._network
        size = (image.shape[0], image.shape[1])
        pixels = pixels_of(image, network.device)
        with stage("preprocess"):
            picture = normalised(pixels, network.mean, network.std)
            grids = [self._grid(size, scale) for scale in settings.scales]
            black = -network.mean[0] / network.std[0]
            crops = [grid.cut(picture, black) for grid in grids]
        with stage("encode"):
            found = by_window(crops, lambda some: (self._cosines(some),), self.at_a_time)
        first, *others = (
            grid.merge(maps, size) for grid, (maps,) in zip(grids, found, strict=True)
        )
        return first._replace(added=tuple(others))

    def _refuse_windows_that_cannot_be(self, *, by_default: bool) -> None:
        window, stride = self._pixels("window"), self._pixels("window_stride")
        if window % self._network.multiple:
            raise UsageError(f"window={window} must be a multiple of {self._network.multiple}")
        if window < stride:
            raise UsageError(
                f"window_stride={stride}{' (the default)' if by_default else ''}: pixels between "
                f"windows of {window} would not be seen; set window_stride to at most {window}"
            )

    def _pixels(self, name: str) -> int:
        """A setting that is a number of pixels by now."""
        return int(getattr(self.settings, name))

    def _grid(self, size: tuple[int, int], scale: float) -> Grid:
        sides = side_lengths(size, math.ceil(self._pixels("base_side") * scale))
        return Grid.over(sides, self._pixels("window"), self._pixels("window_stride"))

    def _cosines(self, windows: Tensor) -> Tensor:
        """``(n, Q, h, w)``: of a window, and of what it shows mirrored."""
        maps = self._compared(windows)
        if not self.settings.flip:
            return maps
        return (maps + self._compared(windows.flip(-1)).flip(-1)) / 2

    def _compared(self, windows: Tensor) -> Tensor:
        return torch.einsum("qd,bdhw->bqhw", self.text, self._network.embed(windows))
