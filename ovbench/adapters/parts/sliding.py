"""Methods that decide window by window, as GroupViT, TCL and those after them are evaluated.

Xu et al., "GroupViT: Semantic Segmentation Emerges from Text Supervision" (CVPR 2022) evaluates in
this way (github.com/NVlabs/GroupViT, segmentation/), and TCL, SegCLIP and OVSegmentor in theirs. A
window's scores are settled before windows are averaged, those of the background among them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ovbench.adapters.parts.candidates import allowed_labels, pairs
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.settings import SIDE, setting
from ovbench.harness.contract.stages import stage
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.pixels.inputs import IMAGENET_MEAN, IMAGENET_STD, input_tensor, kept_ratio
from ovbench.models.pixels.labels import decide
from ovbench.models.pixels.windows import Windows

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

K = TypeVar("K", bound=Hashable)
S = TypeVar("S", bound="DataclassInstance")
Found = tuple[Tensor, ...]
"""What was read from n windows: tensors of n rows."""


@dataclass(frozen=True)
class SlidingSettings:
    """Settings of :class:`Sliding`; a method's own stand in its subclass."""

    short_side: int | None = setting(
        None,
        "released code, segmentation/configs/_base_/datasets: img_scale=(2048, 448), for networks "
        "trained on 224 pixels",
        "shorter side of the input in pixels, resized as OpenCV does; none is twice the training "
        "size",
        most=SIDE,
    )
    max_long_side: int = setting(
        2048, "released code, img_scale=(2048, 448)", "limit of its longer side", most=SIDE
    )
    window: int | None = setting(
        None,
        "released code, test_cfg crop_size=(448, 448)",
        "side of windows in pixels; none is twice the training size, 0 the whole image",
        most=SIDE,
    )
    window_stride: int | None = setting(
        None,
        "released code, test_cfg stride=(224, 224)",
        "pixels between windows, no more than one is long; none is the training size",
        most=SIDE,
    )

    def __post_init__(self) -> None:
        for name in ("short_side", "max_long_side", "window_stride"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be positive")
        window, stride = self.window or 0, self.window_stride or 1
        if window < 0 or 0 < window < stride:
            raise ValueError("window must be 0 or at least window_stride")


SIZES: Mapping[str, float] = {"short_side": 2, "window": 2, "window_stride": 1}
"""Of the training size, where :class:`SlidingSettings` name no pixels."""


def sized(settings: S, factors: Mapping[str, float], side: int) -> S:
    """Settings with a number of pixels wherever they named none.

    Args:
        factors: by what to multiply ``side``, per setting.
        side: of the pictures that the network was trained on.

    Raises:
        UsageError: what was named does not go with what was not.
    """
    pixels: dict[str, Any] = {
        name: round(side * factor)
        for name, factor in factors.items()
        if getattr(settings, name) is None
    }
    try:
        return replace(settings, **pixels)
    except ValueError as error:
        raise UsageError(f"{error}; {pixels} come from pictures of {side} pixels") from None


class Sliding(ABC):
    """From pictures to windows, and from scores of windows to labels.

    Attributes:
        mean, std: per channel, of pixels scaled to 0..1.
        patch: pixels along a side of what the network sees at once; no input is smaller.
        multiple: windows are given zeros up to a multiple of it, evenly on both sides.
        at_a_time: windows that go through the network together; at 448 pixels, patches of 16 and
            attention weights in float32, 16 take about 1 GiB.
        background_texts: background's own texts compete like those of classes; otherwise it has a
            score of its own and no text.
    """

    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    at_a_time: ClassVar[int] = 16
    settings: Any  # a SlidingSettings; a subclass narrows it to its own
    device: torch.device
    patch: int
    multiple: int = 1
    background_texts: ClassVar[bool] = False

    @abstractmethod
    def embed(self, texts: Sequence[str]) -> Tensor:
        """Texts of classes; ``(Q, d)`` float32, of unit length."""

    @abstractmethod
    def read(self, windows: Tensor) -> Found:
        """What a network finds in windows ``(n, 3, h, w)``; rows of one do not know the others."""

    @abstractmethod
    def scores(
        self, found: Found, windows: Tensor, queries: Tensor, background: bool
    ) -> tuple[Tensor, Tensor]:
        """The scores of classes in every window of one picture.

        Args:
            found: from :meth:`read`.
            queries: which of the texts that :meth:`embed` got compete, by index; at least one.
            background: whether background's score comes first.

        Returns:
            ``(n, [1 +] k, h, w)``, any h and w that lie over the windows, and the k queries these
            are of, at least one: those that win nowhere may be left out.
        """

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Embed the queries that compete by their texts."""
        self._vocabulary = vocabulary
        first = 0 if self.background_texts else vocabulary.offset
        asked = [(text, label) for text, label in vocabulary.queries if label >= first]
        self._labels = np.array([label for _, label in asked], dtype=np.intp)
        self.text = self.embed([text for text, _ in asked])

    @torch.inference_mode()
    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """See :class:`~ovbench.Segmenter`.

        Windows of equal size go in together, also those of different images. Sums over another
        batch size round differently, so that a pixel between two classes may change sides.
        """
        with stage("preprocess"):
            inputs = [self._input(image) for image in images]
            windows = [self._windows(one) for one in inputs]
            crops = [layout.cut(one) for layout, one in zip(windows, inputs, strict=True)]
        with stage("encode"):
            found = by_window(crops, self.read, self.at_a_time)
        return [
            self._answer(found[i], crops[i], windows[i], image, chosen)
            for i, (image, chosen) in enumerate(pairs(images, candidates))
        ]

    def _size(self, image: Image) -> tuple[int, int]:
        """Height and width of what an image is read at."""
        return kept_ratio(
            (image.shape[0], image.shape[1]),
            short_side=self.settings.short_side,
            max_long_side=self.settings.max_long_side,
            least=self.patch,
        )

    def _input(self, image: Image) -> Tensor:
        """``(3, H', W')``, normalised; bytes and no antialiasing, as OpenCV has it."""
        return input_tensor(
            image,
            self._size(image),
            mean=self.mean,
            std=self.std,
            mode="bilinear",
            device=self.device,
            antialias=False,
            whole_numbers=True,
        )

    def _windows(self, pixels: Tensor) -> Windows:
        size, settings = (pixels.shape[1], pixels.shape[2]), self.settings
        return Windows.over(size, settings.window, settings.window_stride, self.multiple)

    def _answer(
        self,
        found: Found,
        crops: Tensor,
        windows: Windows,
        image: Image,
        candidates: Collection[int] | None,
    ) -> LabelMap:
        vocabulary = self._vocabulary
        queries = np.flatnonzero(np.isin(self._labels, allowed_labels(vocabulary, candidates)))
        if not len(queries):  # no class is among the candidates
            return np.zeros(image.shape[:2], dtype=vocabulary.label_dtype)
        behind = vocabulary.background is not None and not self.background_texts
        with stage("match"):
            chosen = torch.from_numpy(queries).to(self.device)
            maps, kept = self.scores(found, crops, chosen, behind)
        labels = self._labels[kept.cpu().numpy()]
        if behind:
            labels = np.concatenate([[0], labels])
        with stage("upsample"):
            return self._settle(maps, windows, labels, image)

    def _settle(
        self, maps: Tensor, windows: Windows, labels: npt.NDArray[np.intp], image: Image
    ) -> LabelMap:
        """The label of the largest score; ``maps`` ``(n, L, h, w)`` are of one label each."""
        scores = windows.merge(maps, (image.shape[0], image.shape[1]))
        return decide(scores, labels, dtype=self._vocabulary.label_dtype)


def by_window(
    crops: Sequence[Tensor], read: Callable[[Tensor], Found], at_a_time: int
) -> list[Found]:
    """What is read from every picture's windows; many go in together.

    Args:
        crops: of every picture its windows, ``(n, 3, h, w)``; pictures may differ in all of these.
        read: see :meth:`Sliding.read`.
        at_a_time: windows of one size that are read together.

    Returns:
        Of every picture tensors of n rows.
    """
    found: dict[int, Found] = {}
    for members in alike([windows.shape[1:] for windows in crops]):
        parts = torch.split(torch.cat([crops[i] for i in members]), at_a_time)
        joined = [torch.cat(rows) for rows in zip(*map(read, parts), strict=True)]
        counts = [len(crops[i]) for i in members]
        each = zip(*(torch.split(rows, counts) for rows in joined), strict=True)
        found.update(zip(members, each, strict=True))
    return [found[i] for i in range(len(crops))]


def alike(keys: Sequence[K]) -> list[list[int]]:
    """Indices of equal keys together, in order of first appearance."""
    groups: defaultdict[K, list[int]] = defaultdict(list)
    for i, key in enumerate(keys):
        groups[key].append(i)
    return list(groups.values())
