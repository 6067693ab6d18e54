"""Which classes does an image hold? CLIP as a multi-label classifier (paper, section 3.4).

Of the classes left after a first cut every combination is written out, "cat and dog", and the
one nearest to the image is believed. With ten classes these are 1,023 texts an image; most of
them were asked for before, so embeddings are kept, and the missing ones encoded together.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import combinations
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from ovbench.adapters.ovdiff.windows import lanczos
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.vocabulary import ClassQuery
from ovbench.models.clip.model import CLIP
from ovbench.models.ensembling import TEXT_BATCH
from ovbench.models.pixels.inputs import input_tensor, squashed

FilterRule: TypeAlias = Literal["direct", "released_code"]

REMEMBERED = 2**17
"""Combinations whose embedding is kept: 256 MB with the 512 channels of ViT-B/16."""

Subset = tuple[int, ...]

# The released code resizes every image to 512 pixels before its CLIP's 224.
_OF_CLIP = 512 / 224


class CategoryFilter:
    """Chooses among the classes of one vocabulary.

    Attributes:
        texts: how many texts were encoded so far.
        passes: in how many forward passes.
    """

    def __init__(
        self, clip: CLIP, classes: Sequence[ClassQuery], most: int, rule: FilterRule = "direct"
    ) -> None:
        """Embed every query of every class."""
        self._clip, self._most = clip, most
        self._released = rule == "released_code"
        article = "a " if self._released else ""
        self._names = [f"{article}{query.name}" for query in classes]
        queries = [(text, i) for i, query in enumerate(classes) for text in query.queries]
        self._single = clip.embed_queries([text for text, _ in queries], ("a {}",))
        self._owner = torch.tensor([owner for _, owner in queries], device=clip.device)
        self._known: OrderedDict[Subset, Tensor] = OrderedDict()
        self.texts = self.passes = 0

    @torch.inference_mode()
    def choose(self, image: Image, allowed: Sequence[int]) -> Subset:
        """The classes that the image seems to hold, at least one.

        Args:
            image: for the released code's rule in its working size.
            allowed: classes to choose among, at least one, ascending.
        """
        embedded = self._clip.encode_image(self._pixels(image))[0]
        promising = self._promising(embedded, allowed)
        subsets = all_subsets(promising)
        scores = self._embedded(subsets) @ embedded
        return subsets[int(scores.argmax())]

    def _pixels(self, image: Image) -> Tensor:
        """The image as CLIP sees it, ``(1, 3, side, side)``."""
        clip, side = self._clip, self._clip.image_size
        if not self._released:
            return squashed(clip, [image], side)
        large = round(side * _OF_CLIP)
        return input_tensor(
            lanczos(image, (large, large)), (side, side), mean=clip.mean, std=clip.std,
            mode="bilinear", device=clip.device, antialias=False,
        )[None]  # fmt: skip

    def _promising(self, embedded: Tensor, allowed: Sequence[int]) -> Subset:
        """Classes more probable than the average one; no more than the limit.

        Both rules take a softmax of the bare cosines, which is almost flat. In the released code
        the average itself is enough, and where there are too many, or none, the most probable
        class is named first.
        """
        cosines = self._single @ embedded
        best = cosines.new_full((len(self._names),), -torch.inf)
        best = best.scatter_reduce(0, self._owner, cosines, "amax")
        index = torch.tensor(allowed, device=best.device)
        probability = best[index].softmax(dim=0)
        order = torch.argsort(probability, descending=True, stable=True)
        average = 1 / len(allowed)
        ranked = probability[order]
        above = ranked >= average if self._released else ranked > average
        kept = order[above] if above.any() else order  # all alike: the first ones
        found = index[kept[: self._most]].tolist()
        by_probability = self._released and not 0 < int(above.sum()) <= self._most
        return tuple(found if by_probability else sorted(found))

    def _embedded(self, subsets: Sequence[Subset]) -> Tensor:
        """``(S, d)``; combinations not asked for lately are forgotten."""
        missing = [subset for subset in subsets if subset not in self._known]
        if missing:
            texts = [" and ".join(self._names[i] for i in subset) for subset in missing]
            rows = self._clip.encode_text(texts)
            self._known.update(zip(missing, rows, strict=True))
            self.texts += len(texts)
            self.passes += -(-len(texts) // TEXT_BATCH)
        for subset in subsets:
            self._known.move_to_end(subset)
        found = torch.stack([self._known[subset] for subset in subsets])
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return found


def all_subsets(members: Subset) -> list[Subset]:
    """Every non-empty subset, small ones first, members in their order; ``2 ** n - 1``."""
    sizes = range(1, len(members) + 1)
    return [subset for size in sizes for subset in combinations(members, size)]
