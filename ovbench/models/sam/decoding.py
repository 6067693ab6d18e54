"""SAM's mask decoder for many prompts on one image, without what they have in common.

What ``segment_anything``'s ``MaskDecoder`` computes, from the same weights, in another order:
https://github.com/facebookresearch/segment-anything, modeling/mask_decoder.py and transformer.py.
There every prompt carries its own copy of the image through all projections. Here

- the image's projections are shared until the first block has changed it;
- from then on a handful of tokens meet thousands of places, so the projections are multiplied
  into the tokens: ``(t W_q) (x W_k)^T = (t W_q W_k^T) x^T``, and likewise for the values;
- transposed convolutions whose stride is their kernel's side are matrix products, place by place;
- only the masks asked for are made, and none whose predicted IoU is too low.

Results differ by rounding.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn, unflatten
from torch.nn import functional

from ovbench.models.precision import linear

CACHED = 2**20
"""Numbers of the largest array that a CPU works on at a time, where one prompt needs no more."""


class Answers(NamedTuple):
    """Masks that answer prompts, in the prompts' order.

    Attributes:
        low_res: ``(m, 4h, 4w)`` float32, logits.
        iou: ``(m,)`` float32, predicted.
        prompt: ``(m,)`` int64, which prompt each mask answers.
    """

    low_res: Tensor
    iou: Tensor
    prompt: Tensor


def decode_many(
    decoder: Any,
    features: Tensor,
    positions: Tensor,
    sparse: Tensor,
    dense: Tensor,
    *,
    multimask: bool,
    above: float,
) -> Answers:
    """Answer ``b`` prompts.

    Args:
        decoder: a ``MaskDecoder`` of ``C`` channels.
        features: ``(1, C, h, w)``, the image.
        positions: ``(1, C, h, w)``.
        sparse: ``(b, k, C)``, points and boxes.
        dense: ``(1, C, h, w)``, or one that is broadcast to it: the same for all prompts.
        multimask: three masks a prompt, else one.
        above: predicted IoU of the masks that are made; 0 makes all.
    """
    size = features.shape[-2], features.shape[-1]
    shared = _Shared((features + dense[:1]).flatten(2).mT, positions.flatten(2).mT)
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([own.expand(len(sparse), -1, -1), sparse], dim=1)
    wanted = range(1, decoder.num_mask_tokens) if multimask else range(1)
    largest = shared.image.numel() * 2  # of the second convolution: 16 places of C / 8 channels
    several = len(tokens) if features.is_cuda else max(1, CACHED // largest)
    masks, ious, good = [], [], []
    for part in torch.split(tokens, several):
        found, image = _transformed(decoder.transformer, part, shared)
        iou = decoder.iou_prediction_head(found[:, 0])[:, wanted.start : wanted.stop]
        passed = iou > above if above > 0 else torch.ones_like(iou, dtype=torch.bool)
        drawn = passed.any(dim=1)
        found, image = found[drawn], image[drawn]
        vectors = [decoder.output_hypernetworks_mlps[i](found[:, 1 + i]) for i in wanted]
        masks.append(_drawn(decoder, image, torch.stack(vectors, dim=2), size)[passed[drawn]])
        ious.append(iou[passed])
        good.append(passed)
    return Answers(torch.cat(masks), torch.cat(ious), torch.cat(good).nonzero()[:, 0])


class _Shared:
    """What no prompt changes: the image ``(1, n, C)``, its places, and their projections."""

    def __init__(self, image: Tensor, places: Tensor) -> None:
        self.image, self.places, self.placed = image, places, image + places
        self._found: dict[nn.Linear, Tensor] = {}

    def projected(self, projection: nn.Linear, source: Tensor, heads: int) -> Tensor:
        """``(heads, n, d)``, made once for every projection."""
        if projection not in self._found:
            self._found[projection] = _split(projection(source), heads)[0].contiguous()
        return self._found[projection]


def _transformed(transformer: Any, start: Tensor, shared: _Shared) -> tuple[Tensor, Tensor]:
    """Tokens ``(b, t, C)`` and image ``(b, n, C)`` behind all blocks."""
    tokens, image = start, None
    for layer in transformer.layers:
        if layer.skip_first_layer_pe:
            tokens = layer.norm1(layer.self_attn(q=tokens, k=tokens, v=tokens))
        else:
            placed = tokens + start
            tokens = layer.norm1(tokens + layer.self_attn(q=placed, k=placed, v=tokens))
        seen = _seen(layer.cross_attn_token_to_image, tokens + start, image, shared)
        tokens = layer.norm2(tokens + seen)
        tokens = layer.norm3(tokens + layer.mlp(tokens))
        told = _told(layer.cross_attn_image_to_token, image, tokens + start, tokens, shared)
        image = layer.norm4(told)
    assert image is not None  # a transformer has a block
    seen = _seen(transformer.final_attn_token_to_image, tokens + start, image, shared)
    return transformer.norm_final_attn(tokens + seen), image


def _seen(attention: Any, tokens: Tensor, image: Tensor | None, shared: _Shared) -> Tensor:
    """What tokens ``(b, t, C)`` find in the image; None is the one that all prompts share."""
    heads = attention.num_heads
    query = _scaled(attention.q_proj(tokens), heads)
    if image is None:
        key = shared.projected(attention.k_proj, shared.placed, heads)
        weights = _times(query, key.mT).softmax(dim=-1)
        value = _times(weights, shared.projected(attention.v_proj, shared.image, heads))
    else:
        scores = unflatten(_folded(query, attention.k_proj) @ image.mT, 1, query.shape[1:3])
        scores += _times(query, shared.projected(attention.k_proj, shared.places, heads).mT)
        seen = scores.softmax(dim=-1).flatten(1, 2) @ image
        value = unflatten(seen, 1, query.shape[1:3]) @ _by_head(attention.v_proj, heads).mT
        value += unflatten(attention.v_proj.bias, 0, (heads, 1, -1))
    answer: Tensor = attention.out_proj(value.transpose(1, 2).flatten(2))
    return answer


def _told(
    attention: Any, image: Tensor | None, tokens: Tensor, values: Tensor, shared: _Shared
) -> Tensor:
    """The image ``(b, n, C)`` plus what its places find in the tokens ``(b, t, C)``."""
    heads = attention.num_heads
    key = _scaled(attention.k_proj(tokens), heads)
    if image is None:
        query = shared.projected(attention.q_proj, shared.placed, heads)
        scores = _times(key, query.mT).permute(0, 3, 2, 1)
        image = shared.image.expand(len(tokens), -1, -1)
    else:
        folded = unflatten(_folded(key, attention.q_proj), 1, key.shape[1:3])
        scores = image @ folded.transpose(1, 2).flatten(1, 2).mT
        scores = unflatten(scores, 2, (key.shape[2], heads))
        query = shared.projected(attention.q_proj, shared.places, heads)
        scores += _times(key, query.mT).permute(0, 3, 2, 1)
    weights = scores.softmax(dim=2).flatten(2)
    out = unflatten(attention.out_proj.weight, 1, (heads, -1)).permute(1, 2, 0)
    found = _split(attention.v_proj(values), heads) @ out
    found[:, 0] += attention.out_proj.bias  # the weights of a head add up to one
    return torch.baddbmm(image, weights, found.transpose(1, 2).flatten(1, 2))


def _split(joint: Tensor, heads: int) -> Tensor:
    """``(b, t, heads * d)`` to ``(b, heads, t, d)``."""
    return unflatten(joint, 2, (heads, -1)).transpose(1, 2)


def _scaled(joint: Tensor, heads: int) -> Tensor:
    apart = _split(joint, heads)
    return apart / math.sqrt(apart.shape[-1])


def _times(several: Tensor, one: Tensor) -> Tensor:
    """``(b, heads, t, x)`` times ``(heads, x, y)``, the prompts as rows of one product."""
    rows = several.transpose(0, 1)
    return unflatten(rows.flatten(1, 2) @ one, 1, rows.shape[1:3]).transpose(0, 1)


def _folded(tokens: Tensor, projection: nn.Linear) -> Tensor:
    """``(b, heads, t, d)`` times a projection's weights: ``(b, heads * t, C)``."""
    return (tokens @ _by_head(projection, tokens.shape[1])).flatten(1, 2)


def _by_head(projection: nn.Linear, heads: int) -> Tensor:
    """A projection's weights, ``(heads, d, C)``."""
    return unflatten(projection.weight, 0, (heads, -1))


def _drawn(decoder: Any, image: Tensor, chosen: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits ``(b, n, 4h, 4w)``: the image enlarged, times one vector a mask ``(b, C / 8, n)``."""
    first, norm, activation, second, last = decoder.output_upscaling
    enlarged = _four_each(image, first)
    enlarged = functional.layer_norm(
        enlarged, enlarged.shape[-1:], norm.weight, norm.bias, norm.eps
    )
    enlarged = last(_four_each(activation(enlarged), second)).flatten(1, -2)
    logits = unflatten(enlarged @ chosen, 1, (*size, 2, 2, 2, 2))
    logits = logits.permute(0, 7, 1, 3, 5, 2, 4, 6)
    return logits.reshape(*logits.shape[:2], 4 * size[0], 4 * size[1])


def _four_each(places: Tensor, convolution: Any) -> Tensor:
    """A transposed 2x2 convolution of stride 2: ``(..., c)`` to ``(..., 4, c')``, row by row."""
    weight = convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)
    made = linear(places, weight, convolution.bias.repeat(4))
    return unflatten(made, -1, (4, -1))
