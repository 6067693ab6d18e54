"""What the dense-CLIP family shares: from pictures to windows and from cosines to labels.

Wang, Mei and Yuille, "SCLIP: Rethinking Self-Attention for Dense Vision-Language Inference"
(ECCV 2024) evaluates in this way (github.com/wangf3014/SCLIP, clip_segmentor.py), and methods
since then evaluate as it does. They differ in what the last blocks of CLIP's image transformer
do, which is all that a subclass says.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ovbench.adapters.parts.candidates import allowed_labels, pairs
from ovbench.adapters.parts.sliding import Found, by_window, sized
from ovbench.adapters.parts.templates import TemplateSet, templates
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.contract.settings import FACTOR, MANY, SIDE, require_shares, setting
from ovbench.harness.contract.stages import stage
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.clip.model import CLIP, load_clip
from ovbench.models.patches.positions import Positions
from ovbench.models.pixels.inputs import input_tensor, kept_ratio, squashed
from ovbench.models.pixels.labels import decide
from ovbench.models.pixels.scores import Scores
from ovbench.models.pixels.windows import Windows
from ovbench.refine.pamr import pamr

WINDOWS_AT_A_TIME = 16
"""Through the image tower: with a ViT-L/14 and attention weights in float32, about 1 GiB."""


@dataclass(frozen=True)
class DenseCLIPSettings:
    """Settings of :class:`DenseCLIP`; a method's own stand in its subclass."""

    NO_MARGINS: ClassVar[str] = ""
    """Why windows are given no zeros, where a method cannot do with them."""

    architecture: str = setting(
        "ViT-B-16", "papers and released codes: ViT-B/16 first", "open_clip's name of the CLIP"
    )
    pretrained: str = setting(
        "openai",
        "papers and released codes",
        "open_clip's tag of its weights, tag@revision, or random",
        picks="clip/{architecture} {pretrained}",
    )
    prompts: TemplateSet = setting(
        "imagenet80",
        "released codes, prompts/imagenet_template.py",
        "set of prompt templates whose embeddings are averaged",
    )
    resizing: Literal["opencv", "antialiased", "squashed"] = setting(
        "opencv",
        "released codes: mmcv's Resize with keep_ratio, by OpenCV; antialiased: our choice; "
        "squashed: GEM's released code",
        "opencv does not antialias and gives whole numbers, squashed gives a square; none rounds "
        "to patches",
    )
    short_side: int | None = setting(
        None,
        "released codes, configs/: 336 for CLIPs trained on 224 pixels",
        "shorter side of the input in pixels; none is 1.5 times the CLIP's training size",
        most=SIDE,
    )
    max_long_side: int = setting(
        2048, "released codes, configs/: scale=(2048, ...)", "limit of its longer side", most=SIDE
    )
    window: int | None = setting(
        None,
        "released codes, slide_crop: 224",
        "side of windows in pixels; none is the CLIP's training size, 0 the whole image",
        most=SIDE,
    )
    window_stride: int | None = setting(
        None,
        "released codes, slide_stride: 112",
        "pixels between windows; none is half the CLIP's training size",
        most=SIDE,
    )
    window_multiple: int = setting(
        1,
        "released codes: what a side has over a multiple of the patch is not seen",
        "windows are given zeros up to a multiple of this",
        most=SIDE,
    )
    positions: Positions = setting(
        "dino",
        "released codes, interpolate_pos_encoding",
        "how position embeddings come to another grid of patches",
    )
    logit_scale: float = setting(
        40.0, "released codes, logit_scale", "factor on cosines before the softmax over queries",
        most=FACTOR,
    )  # fmt: skip
    background_threshold: float = setting(
        0.0,
        "released codes, prob_thd",
        "probability below which a pixel is background; 0 leaves that to background's own texts",
    )
    area_share: float = setting(
        0.0,
        "released codes, area_thd",
        "leave out classes with no more than this share of the pixels that are not background",
    )
    pamr_iterations: int = setting(
        0, "released codes, pamr_steps", "refine scores by pixels of like colour; 0 is off",
        most=MANY,
    )  # fmt: skip
    pamr_dilations: tuple[int, ...] = setting(
        (8, 16), "released codes, pamr.py", "how far PAMR looks, in pixels", most=SIDE
    )

    def __post_init__(self) -> None:
        for name in ("short_side", "max_long_side", "window_stride", "window_multiple"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be positive")
        if self.NO_MARGINS and self.window_multiple != 1:
            raise ValueError(f"window_multiple must be 1: {self.NO_MARGINS}")
        if min(self.window or 0, self.pamr_iterations) < 0:
            raise ValueError("window and pamr_iterations must not be negative")
        if min((self.logit_scale, *self.pamr_dilations)) <= 0:
            raise ValueError("logit_scale and pamr_dilations must be positive")
        if self.pamr_iterations and not self.pamr_dilations:
            raise ValueError("pamr_iterations needs pamr_dilations")
        require_shares(self, "background_threshold", "area_share")


class DenseCLIP(ABC):
    """Cosines between texts and patches of windows; the largest wins at every pixel."""

    SIZES: ClassVar[Mapping[str, float]] = {"short_side": 1.5, "window": 1, "window_stride": 0.5}
    """Of the training size, where the settings name no pixels."""

    def __init__(self, settings: DenseCLIPSettings, runtime: Runtime) -> None:
        self.clip = load_clip(settings.architecture, settings.pretrained, runtime)
        self._refuse_tower()  # before thousands of texts are embedded
        self.checkpoints: tuple[CheckpointRecord, ...] = (self.clip.checkpoint,)
        self.settings = sized(settings, self._sizes(), self.clip.image_size)
        self._refuse_windows_that_see_too_little(by_default=settings.window_stride is None)

    def _refuse_tower(self) -> None:
        """Raise UsageError where the CLIP's image tower cannot be read as the method does."""
        self.clip.refuse_without_blocks()

    def _sizes(self) -> Mapping[str, float]:
        return self.SIZES

    @abstractmethod
    def features(self, windows: Tensor) -> Tensor:
        """What the method is.

        Args:
            windows: ``(B, 3, H, W)`` float32, normalised as CLIP was trained.

        Returns:
            ``(B, d, h, w)`` float32 in CLIP's joint space, not normalised; any grid.
        """

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Embed every query of the vocabulary."""
        self.vocabulary = vocabulary
        self._labels = vocabulary.query_labels
        self.text = self.clip.embed_queries(
            vocabulary.query_texts, templates(self.settings.prompts)
        )

    @torch.inference_mode()
    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """See :class:`~ovbench.Segmenter`.

        Windows of equal size are encoded together, also those of different images. Sums over
        another batch size round differently, so that a pixel between two classes may change
        sides.
        """
        with stage("preprocess"):
            inputs = [self._input(image) for image in images]
            windows = [self._windows(one) for one in inputs]
        maps = self._maps(inputs, windows)
        answers = []
        for i, (image, chosen) in enumerate(pairs(images, candidates)):
            height, width, _ = image.shape
            scores = self._merged(windows[i], maps[i], inputs[i], (height, width))
            answers.append(self._answer(scores, inputs[i], chosen))
        return answers

    def cosines(self, windows: Tensor) -> Tensor:
        """Of every query with every place of windows, ``(B, Q, h, w)`` float32."""
        return self.compared(self.features(windows))

    def compared(self, features: Tensor) -> Tensor:
        """Of every query with features ``(B, d, h, w)`` of any length, ``(B, Q, h, w)``."""
        return torch.einsum("qd,bdhw->bqhw", self.text, functional.normalize(features, dim=1))

    def _input(self, image: Image) -> Tensor:
        """``(3, H', W')``, normalised."""
        settings, clip = self.settings, self.clip
        if settings.resizing == "squashed":
            return squashed(clip, [image], max(self._pixels("short_side"), clip.stride))[0]
        by_opencv = settings.resizing == "opencv"
        size = kept_ratio(
            (image.shape[0], image.shape[1]),
            short_side=self._pixels("short_side"),
            max_long_side=settings.max_long_side,
            least=clip.stride,
        )
        return input_tensor(
            image,
            size,
            mean=clip.mean,
            std=clip.std,
            mode="bilinear",
            device=clip.device,
            antialias=not by_opencv,
            whole_numbers=by_opencv,
        )

    def _windows(self, pixels: Tensor) -> Windows:
        return Windows.over(
            (pixels.shape[1], pixels.shape[2]),
            self._pixels("window"),
            self._pixels("window_stride"),
            self.settings.window_multiple,
        )

    def _refuse_windows_that_see_too_little(self, *, by_default: bool) -> None:
        window, stride = self._pixels("window"), self._pixels("window_stride")
        if 0 < window < self.clip.stride:
            raise UsageError(
                f"window={window}: {self.clip.checkpoint.name} sees nothing below "
                f"{self.clip.stride} pixels; 0 is the whole image"
            )
        if 0 < window < stride:
            raise UsageError(
                f"window_stride={stride}{' (the default)' if by_default else ''}: pixels between "
                f"windows of {window} would not be seen; set window_stride to at most {window}"
            )

    def _pixels(self, name: str) -> int:
        """A setting that is a number of pixels by now."""
        return int(getattr(self.settings, name))

    def _maps(self, inputs: Sequence[Tensor], windows: Sequence[Windows]) -> list[Tensor]:
        """The scores of every image's windows, ``(n, Q, h, w)`` each."""
        return self._by_window(inputs, windows, self.cosines)

    def _merged(
        self, windows: Windows, maps: Tensor, pixels: Tensor, size: tuple[int, int]
    ) -> Scores:
        """Scores at full size, of one image's windows ``(n, Q, h, w)`` over its input."""
        return windows.merge(maps, size)

    def _by_window(
        self,
        inputs: Sequence[Tensor],
        windows: Sequence[Windows],
        read: Callable[[Tensor], Tensor],
    ) -> list[Tensor]:
        """What is read from every image's windows, ``(n, ...)`` each; many go in together."""
        return [maps for (maps,) in self._all_by_window(inputs, windows, lambda w: (read(w),))]

    def _all_by_window(
        self,
        inputs: Sequence[Tensor],
        windows: Sequence[Windows],
        read: Callable[[Tensor], Found],
    ) -> list[Found]:
        """The same of several tensors."""
        with stage("preprocess"):
            cut = [layout.cut(one) for layout, one in zip(windows, inputs, strict=True)]
        with stage("encode"):
            return by_window(cut, read, WINDOWS_AT_A_TIME)

    def _answer(
        self, scores: Scores, pixels: Tensor, candidates: Collection[int] | None
    ) -> LabelMap:
        settings, vocabulary = self.settings, self.vocabulary
        allowed = np.isin(self._labels, allowed_labels(vocabulary, candidates))
        scores, labels = scores.of(torch.from_numpy(allowed)), self._labels[allowed]
        if settings.pamr_iterations:
            with stage("refine"):
                scores = self.refined(scores, pixels, settings.pamr_iterations)
        threshold, share = settings.background_threshold, settings.area_share
        if vocabulary.background is None:  # label 0 is a class like the others
            threshold = share = 0.0
        with stage("upsample"):
            return decide(
                scores,
                labels,
                dtype=vocabulary.label_dtype,
                softmax_scale=settings.logit_scale,
                background_below=threshold or None,
                area_share=share or None,
            )

    def refined(self, scores: Scores, pixels: Tensor, iterations: int) -> Scores:
        """By PAMR on an input ``(3, H', W')``, with all scores at full size."""
        image = functional.interpolate(pixels[None], scores.size, mode="bilinear")[0]
        dilations = self.settings.pamr_dilations
        return Scores(pamr(image, scores.whole(), iterations=iterations, dilations=dilations))


def refuse_first_block(clip: CLIP, last_blocks: int | None, asked: str = "") -> None:
    """Raise UsageError where a CLIP's last blocks, so many as are ``asked`` for, are all it has."""
    if last_blocks is not None and last_blocks >= clip.layers:
        raise UsageError(
            f"{asked or f'last_blocks={last_blocks}'}: {clip.checkpoint.name} has {clip.layers} "
            "blocks, and the first one is always left as it is"
        )
