"""DiffSegmenter: where Stable Diffusion's attention to a class's word lies in a noisy picture.

Wang et al., "Diffusion Model is Secretly a Training-free Open Vocabulary Semantic Segmenter",
arXiv:2309.02773, 2023; released code: github.com/VCG-team/DiffSegmenter.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ovbench.adapters.parts.candidates import allowed_labels, pairs
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import setting
from ovbench.harness.contract.stages import stage
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.diffusion.looking import Looking
from ovbench.models.diffusion.model import load_diffusion
from ovbench.models.diffusion.prompts import Continued
from ovbench.models.matchers.captioner import load_captioner
from ovbench.models.pixels.inputs import input_tensor
from ovbench.models.pixels.scores import Scores

CODE = "released code, open_vocabulary/voc12/ptp_stable_best.py"
TEXTS_PER_PASS = 4
"""Through the U-Net: queries and keys of the finest layers, 50 MB a text, are kept of them."""

_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class DiffSegmenterSettings:
    """Settings of :class:`DiffSegmenter`."""

    diffusion: str = setting(
        "stable_diffusion_v1_5",
        CODE,
        "Stable Diffusion 1.x of the catalogue, or a hub id; pictures are squashed to its square",
        picks="stable_diffusion/{diffusion}",
    )
    captioner: Literal["blip_captioning_large", "none"] = setting(
        "blip_captioning_large",
        f"{CODE}; none is our choice, for where there are no such weights",
        "what goes on with the prompt, seeing the picture",
        picks={"blip_captioning_large": "blip_captioner/blip_captioning_large"},
    )
    prompt: str = setting(
        "a photograph of",
        f"{CODE}; that of Context and COCO has photography",
        "what stands before a class's name",
    )
    emphasis: float = setting(
        1.21,
        f"{CODE}: compel's ++",
        "how far the text states of a name's last word are pushed from an empty text's",
        most=100,
    )
    timestep: int = setting(100, CODE, "of the noise on the picture, of 1000", most=999)
    weights: tuple[float, ...] = setting(
        (0.3, 0.5, 0.1, 0.1),
        CODE,
        "of the attention to the word, by the size of layers, from 8x8 of 64x64 latents to 64x64",
        most=1000,
    )
    background_score: float = setting(
        0.52,
        "our choice: the middle of 0.30 to 0.74, which the released code, evaluation_voc12.py, "
        "tries on the evaluation set to report the best",
        "what background scores everywhere; a class's map runs from 0 to 1",
        most=1,
        least=0,
    )

    def __post_init__(self) -> None:
        if self.timestep < 0:
            raise ValueError("timestep must not be negative")
        if not self.weights or min(self.weights) < 0 or max(self.weights) == 0:
            raise ValueError("weights must not be negative, nor all be 0")


class DiffSegmenter:
    """Every class has a map from 0 to 1, however little of it there is; the largest wins."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="DiffSegmenter: Stable Diffusion's attention to a class's word in a noisy picture",
        kind="training-free",
        paper="Wang et al., arXiv",
        year=2023,
        backbones=("Stable Diffusion", "BLIP"),
        weights=(
            "stable_diffusion/stable_diffusion_v1_5",
            "blip_captioner/blip_captioning_large",
        ),
        code_licence="none stated",
    )
    Settings = DiffSegmenterSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "without_captions": {"captioner": "none"},
        # As open_vocabulary/coco and open_vocabulary/voc10 have it.
        "context_coco": {"prompt": "a photography of"},
    }

    def __init__(self, settings: DiffSegmenterSettings, runtime: Runtime) -> None:
        self.settings = settings
        self._seed = runtime.seed
        self._captioner = (
            None if settings.captioner == "none" else load_captioner(settings.captioner, runtime)
        )
        self._diffusion = load_diffusion(settings.diffusion, runtime)
        if (sizes := self._diffusion.text_sizes) != len(settings.weights):
            raise UsageError(
                f"setting weights: {len(settings.weights)} numbers, and this Stable Diffusion "
                f"attends to texts at {sizes} sizes; give one for each"
            )
        captioners = () if self._captioner is None else self._captioner.checkpoints
        self.checkpoints = (*self._diffusion.checkpoints, *captioners)

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Keep the names; background, a constant, is asked for by no text."""
        self._vocabulary = vocabulary
        asked = [(text, label) for text, label in vocabulary.queries if label >= vocabulary.offset]
        self._names = [text for text, _ in asked]
        self._labels = np.array([label for _, label in asked], dtype=np.intp)
        for name in self._names:  # what is too long is told before any picture
            self._diffusion.continued(f"{self.settings.prompt} {name}", "")

    @torch.inference_mode()
    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """See :class:`~ovbench.Segmenter`; a picture takes a pass for every text."""
        return [self._answer(image, chosen) for image, chosen in pairs(images, candidates)]

    def _answer(self, image: Image, candidates: Collection[int] | None) -> LabelMap:
        vocabulary = self._vocabulary
        height, width, _ = image.shape
        allowed = np.isin(self._labels, allowed_labels(vocabulary, candidates))
        labels = self._labels[allowed]
        names = [name for name, there in zip(self._names, allowed, strict=True) if there]
        constant = self.settings.background_score if vocabulary.background else None
        maps = self._maps(image, names) if names else torch.zeros(0, 1, 1)
        with stage("upsample"):
            answer = decided(maps, labels, (height, width), constant)
        return answer.astype(vocabulary.label_dtype)

    def _maps(self, image: Image, names: Sequence[str]) -> Tensor:
        """How much of a picture's attention each name has, ``(Q, h, w)``."""
        settings, model = self.settings, self._diffusion
        with stage("caption"):
            texts = self._texts(image, names)
        side = (model.image_size, model.image_size)
        pixels = input_tensor(
            image,
            side,
            mean=model.mean,
            std=model.std,
            mode="bilinear",
            device=model.device,
            antialias=False,
        )
        with stage("diffuse"):
            picture = model.noisy(pixels, timestep=settings.timestep, seed=self._seed)
        found = []
        for first in range(0, len(texts), TEXTS_PER_PASS):
            part = texts[first : first + TEXTS_PER_PASS]
            with stage("diffuse"):
                looking = model.look(
                    picture,
                    [text for text, _ in part],
                    [positions for _, positions in part],
                    emphasis=settings.emphasis,
                )
            with stage("attention"):
                found.append(looking.spread(weighed(looking, settings.weights)))
        return torch.cat(found)

    def _texts(self, image: Image, names: Sequence[str]) -> list[tuple[Continued, tuple[int, ...]]]:
        """Per name what the picture is looked at with, and the tokens that stand for the name."""
        beginnings = [f"{self.settings.prompt} {name}" for name in names]
        if self._captioner is None:
            return [self._text(beginning, "") for beginning in beginnings]
        seen = self._captioner.encode(image)
        return [self._text(each, self._captioner.go_on(seen, each)) for each in beginnings]

    def _text(self, beginning: str, rest: str) -> tuple[Continued, tuple[int, ...]]:
        text = self._diffusion.continued(beginning, rest)
        last = text.word[1]
        # Who does something looks like it: a word in -ing behind the name is the name's, too.
        doing = rest.startswith(" ") and rest.split(maxsplit=1)[0].endswith("ing")
        return text, (last, text.follows) if doing and text.follows is not None else (last,)


def weighed(looking: Looking, weights: Sequence[float]) -> Tensor:
    """The attention to the words, from all sizes of layers; ``(B, h, w)`` on the grid to spread.

    Every size's map is brought there and then to 0..1.
    """
    enlarged = [
        functional.interpolate(maps[:, None], looking.grid, mode="bilinear", align_corners=False)
        for maps in looking.words.values()
    ]
    parts = [w * stretched(maps[:, 0]) for w, maps in zip(weights, enlarged, strict=True)]
    return torch.stack(parts).sum(dim=0)


def stretched(maps: Tensor) -> Tensor:
    """Maps ``(B, h, w)``, each from 0 at its least to 1 at its most; one that is even is 0."""
    least = maps.amin(dim=(1, 2), keepdim=True)
    most = maps.amax(dim=(1, 2), keepdim=True)
    return (maps - least) / (most - least).clamp(min=_TINY)


def decided(
    maps: Tensor,
    labels: npt.NDArray[np.intp],
    size: tuple[int, int],
    background: float | None,
) -> npt.NDArray[np.intp]:
    """The label of the largest map at every pixel, each stretched to 0..1 at full size.

    One map at a time has that size. Of equal ones the first wins, background before all.

    Args:
        maps: ``(Q, h, w)`` float32, resized bilinearly.
        labels: ``(Q,)``.
        size: height and width of the result.
        background: what label 0 scores everywhere, or None where there is no such label.
    """
    best = torch.full(size, -torch.inf if background is None else background, device=maps.device)
    answer = torch.zeros(size, dtype=torch.int64, device=maps.device)
    for one, label in zip(maps, labels.tolist(), strict=True):
        full = stretched(Scores.enlarged(one[None], size).whole())[0]
        wins = full > best
        best = torch.where(wins, full, best)
        answer[wins] = label
    found: npt.NDArray[np.intp] = answer.cpu().numpy().astype(np.intp)
    return found
