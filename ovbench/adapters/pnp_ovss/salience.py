"""Class salience maps: GradCAM on cross-attention, completed by Salience DropOut.

Sections 3 to 3.2 of the paper. Each round encodes all images of the batch together and takes
one backward pass, whatever the number of classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ovbench.adapters.pnp_ovss.prompting import Listing, Question
from ovbench.adapters.pnp_ovss.settings import Settled
from ovbench.harness.contract.stages import stage
from ovbench.models.matchers.matcher import Matcher


class Seen(NamedTuple):
    """What one image's tokens look at, for one prompt.

    Attributes:
        probabilities: ``(heads, n, h, w)`` float32, of a layer's cross-attention.
        gradients: of the match logit with respect to them; same shape.
    """

    listing: Listing
    probabilities: Tensor
    gradients: Tensor


def class_maps(
    model: Matcher, pixels: Tensor, questions: Sequence[Question], settings: Settled
) -> list[Tensor]:
    """Salience per class, summed over all rounds.

    Args:
        pixels: ``(B, 3, S, S)``, normalised.
        questions: per image.

    Returns:
        Per image ``(K, h, w)`` float32, at least 0; K classes as in its question's labels.
    """
    dropout = Dropout(model, pixels, settings)
    totals: list[Tensor] = []
    for done in range(settings.drops + 1):
        looks = look(model, dropout.pixels(), questions, settings)
        each = [read(*pair, settings) for pair in zip(questions, looks, strict=True)]
        maps = [classes for classes, _ in each]
        if settings.rescale_rounds:
            maps = [rescaled(m) for m in maps]
        # A dropped patch has no salience later (section 3.2).
        maps = [m * kept for m, kept in zip(maps, dropout.kept, strict=True)]
        if not done:
            totals = [m * (1 + settings.count_first_twice) for m in maps]
        else:
            totals = [total + m for total, m in zip(totals, maps, strict=True)]
        if done < settings.drops:
            dropout.drop(torch.stack([salience for _, salience in each]))
    return totals


class Dropout:
    """Which patches are left of each image.

    Attributes:
        kept: ``(B, h, w)`` bool.
    """

    def __init__(self, model: Matcher, pixels: Tensor, settings: Settled) -> None:
        side, size = model.patch_size, pixels.shape[-2:]
        self._pixels, self._patch, self._settings = pixels, side, settings
        self._rounds = 0
        self.kept = pixels.new_ones(len(pixels), size[0] // side, size[1] // side).bool()
        mean, std = (pixels.new_tensor(v)[:, None, None] for v in (model.mean, model.std))
        black = settings.drop_fill == "black" and settings.normalised
        self._fill = -mean / std if black else torch.zeros_like(mean)

    def pixels(self) -> Tensor:
        """The images without the patches dropped so far; ``(B, 3, S, S)``."""
        if self.kept.all():
            return self._pixels
        side = self._patch
        kept = self.kept.repeat_interleave(side, dim=1).repeat_interleave(side, dim=2)
        return torch.where(kept[:, None], self._pixels, self._fill)

    def drop(self, salience: Tensor) -> None:
        """Drop each image's most salient patches among those that are left.

        Args:
            salience: ``(B, h, w)``, at least 0.
        """
        left, values = self.kept.flatten(1), salience.flatten(1)
        rule = self._settings.drop_rule
        if rule == "median":
            remaining = values.masked_fill(~left, torch.nan)
            dropped = values >= remaining.nanquantile(0.5, dim=1, keepdim=True)
        elif rule == "half":
            # Every image has lost as many patches as the others. Stable, so that equal values
            # are dropped in reading order on every device.
            order = values.masked_fill(~left, -1.0).argsort(dim=1, descending=True, stable=True)
            dropped = _chosen(left, order[:, : int(left[0].sum()) // 2])
        else:
            ranked = np.argsort(values.masked_fill(~left, 0.0).cpu().numpy(), axis=1)
            order = torch.from_numpy(ranked).to(left.device)
            dropped = _chosen(left, order[:, order.shape[1] - self._count(order.shape[1]) :])
        self.kept = (left & ~dropped).reshape(self.kept.shape)
        self._rounds += 1

    def _count(self, patches: int) -> int:
        """How many patches the released codes drop after this round."""
        if self._settings.drop_rule == "count":
            return min(self._settings.drop_count, patches)
        return patches >> (self._rounds + 1)


def _chosen(like: Tensor, order: Tensor) -> Tensor:
    return torch.zeros_like(like).scatter_(1, order, True)


def look(
    model: Matcher, pixels: Tensor, questions: Sequence[Question], settings: Settled
) -> list[list[Seen]]:
    """Per image and prompt, where a layer looks: one encoding, one backward pass per prompt."""
    with stage("encode"):
        features = model.encode_images(pixels, settings.vision_eps)
    at = settings.layer - 1
    looks: list[list[Seen]] = [[] for _ in questions]
    # The first prompts of all images together, then the second ones of those that have any.
    for listings in zip_longest(*(question.listings for question in questions)):
        asked = [(i, listing) for i, listing in enumerate(listings) if listing is not None]
        chosen = features.take([i for i, _ in asked])
        with stage("attention"):
            seen = model.cross_attention(chosen, [one.prompt for _, one in asked], at)
        for row, (i, listing) in enumerate(asked):
            used = slice(len(listing.total))  # behind them is the padding of the batch
            looks[i].append(
                Seen(listing, seen.probabilities[row, :, used], seen.gradients[row, :, used])
            )
    return looks


def read(question: Question, looks: Sequence[Seen], settings: Settled) -> tuple[Tensor, Tensor]:
    """An image's class maps, ``(K, h, w)``, and its class-agnostic map, ``(h, w)``."""
    tokens = [token_maps(seen, settings) for seen in looks]
    pairs = list(zip(looks, tokens, strict=True))
    names = [torch.einsum("qn,nhw->qhw", seen.listing.names, maps) for seen, maps in pairs]
    totals = [_total(seen.listing.total, maps) for seen, maps in pairs]
    return question.classes(torch.cat(names)), torch.stack(totals).sum(dim=0)


def _total(weights: Tensor, maps: Tensor) -> Tensor:
    """Tokens with a weight alone, one after the other, as released code adds them up."""
    used = weights > 0
    return (weights[used, None, None] * maps[used]).sum(dim=0)


def token_maps(seen: Seen, settings: Settled) -> Tensor:
    """What each token looks at, ``(n, h, w)``: equation 1, or the attention alone.

    The gradient is that of the "match" logit, as in the released code. The paper writes the
    matching loss with "matching" as its label, which falls where that logit rises.
    """
    heads = slice(settings.head - 1, settings.head) if settings.head else slice(None)
    attention, gradients = seen.probabilities[heads], seen.gradients[heads]
    if settings.salience == "attention":
        return attention.mean(dim=0)
    return (attention * gradients.clamp_min(0)).mean(dim=0)


def rescaled(maps: Tensor) -> Tensor:
    """Each of ``(K, h, w)`` maps brought to 0..1; 0 where it is the same everywhere."""
    lowest, highest = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return (maps - lowest) / (highest - lowest).clamp_min(torch.finfo(maps.dtype).tiny)
