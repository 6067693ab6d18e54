"""Which classes does an image hold? CLIP as a multi-label classifier (paper, section 3.4).

Of the classes left after a first cut every combination is written out, "cat and dog", and the
one nearest to the image is believed. With ten classes these are 1,023 texts an image; most of
them were asked for before, so embeddings are kept, and the missing ones encoded together.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from ovbench.harness.protocol import ClassQuery, Image
from ovbench.models.clip import CLIP, TEXT_BATCH
from ovbench.models.images import squashed

REMEMBERED = 2**17
"""Combinations whose embedding is kept: 256 MB with the 512 channels of ViT-B/16."""

Subset = tuple[int, ...]


class CategoryFilter:
    """Chooses among the classes of one vocabulary.

    Attributes:
        texts: how many texts were encoded so far.
        passes: in how many forward passes.
    """

    def __init__(self, clip: CLIP, classes: Sequence[ClassQuery], most: int) -> None:
        """Embed every query of every class."""
        self._clip, self._most = clip, most
        self._names = [query.name for query in classes]
        queries = [(text, i) for i, query in enumerate(classes) for text in query.queries]
        self._single = clip.encode_text([f"a {text}" for text, _ in queries])
        self._owner = torch.tensor([owner for _, owner in queries], device=clip.device)
        self._known: OrderedDict[Subset, Tensor] = OrderedDict()
        self.texts = self.passes = 0

    @torch.inference_mode()
    def choose(self, image: Image, allowed: Sequence[int]) -> Subset:
        """The classes that the image seems to hold, at least one, ascending.

        Args:
            allowed: classes to choose among, at least one.
        """
        pixels = squashed(self._clip, [image], self._clip.image_size)
        embedded = self._clip.encode_image(pixels)[0]
        promising = self._promising(embedded, allowed)
        subsets = all_subsets(promising)
        scores = self._embedded(subsets) @ embedded
        return subsets[int(scores.argmax())]

    def _promising(self, embedded: Tensor, allowed: Sequence[int]) -> Subset:
        """Classes more probable than the average one; no more than the limit.

        The released code takes a softmax of the bare cosines, which is almost flat.
        """
        cosines = self._single @ embedded
        best = cosines.new_full((len(self._names),), -torch.inf)
        best = best.scatter_reduce(0, self._owner, cosines, "amax")
        index = torch.tensor(allowed, device=best.device)
        probability = best[index].softmax(dim=0)
        order = torch.argsort(probability, descending=True, stable=True)
        above = probability[order] > 1 / len(allowed)
        kept = order[above] if above.any() else order  # all alike: the first ones
        return tuple(sorted(index[kept[: self._most]].tolist()))

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
