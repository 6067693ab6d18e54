"""Mask decoders of SAM and SAM 2 for many prompts on one image, without what they share.

What ``segment_anything``'s ``MaskDecoder`` computes, from the same weights, in another order:
https://github.com/facebookresearch/segment-anything, modeling/mask_decoder.py and transformer.py;
and transformers' ``Sam2MaskDecoder``, whose inside is the same under other names but for one more
token and finer features. There every prompt carries its own copy of the image through all
projections. Here

- the image's projections are shared until the first block has changed it;
- from then on a handful of tokens meet thousands of places, so the projections are multiplied
  into the tokens: ``(t W_q) (x W_k)^T = (t W_q W_k^T) x^T``, and likewise for the values;
- transposed convolutions whose stride is their kernel's side are matrix products, place by place;
- only the masks asked for are made, and none whose predicted IoU is too low.

Results differ by rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn, unflatten
from torch.nn import functional

from ovbench.models.precision import linear

CACHED = 2**20
"""Numbers of the largest array that a CPU works on at a time, where one prompt needs no more."""

Step = Callable[[Tensor], Tensor]
Settle = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From all masks of prompts ``(b, n, h, w)`` and their IoU ``(b, n)`` to those that answer."""


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


class Attention(NamedTuple):
    """An attention between tokens and places, by its projections."""

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    out: nn.Linear
    heads: int


class Block(NamedTuple):
    """A block of the two-way transformer.

    Attributes:
        first: whether tokens attend to each other without their places and are not kept beside.
        own: tokens among themselves, from queries, keys and values ``(b, t, C)``.
        seen: what tokens find in the image.
        told: what the image's places find in the tokens.
        norms: behind each of the four steps.
    """

    first: bool
    own: Callable[[Tensor, Tensor, Tensor], Tensor]
    seen: Attention
    mlp: Step
    told: Attention
    norms: Sequence[Step]


class MaskDecoder(NamedTuple):
    """A mask decoder by its parts, whatever their names.

    Attributes:
        own: its own tokens, ``(t, C)``, with that of IoU at ``iou_at`` and those of masks behind.
        iou: from that token to the IoU of all masks.
        draw: of each mask, from its token to the vector that its pixels are compared with.
        enlarge: two transposed convolutions.
        norm: of the first one's output.
        activations: behind each of them.
    """

    own: Tensor
    iou_at: int
    blocks: Sequence[Block]
    last: Attention
    last_norm: Step
    iou: Step
    draw: Sequence[Step]
    enlarge: tuple[Any, Any]
    norm: Any
    activations: tuple[Step, Step]


def of_sam(decoder: Any) -> MaskDecoder:
    """``segment_anything``'s ``MaskDecoder``."""

    def between(module: Any) -> Attention:
        return Attention(
            module.q_proj, module.k_proj, module.v_proj, module.out_proj, module.num_heads
        )

    transformer = decoder.transformer
    first, norm, activation, second, last = decoder.output_upscaling
    return MaskDecoder(
        own=torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]),
        iou_at=0,
        blocks=[
            Block(
                layer.skip_first_layer_pe,
                layer.self_attn,
                between(layer.cross_attn_token_to_image),
                layer.mlp,
                between(layer.cross_attn_image_to_token),
                (layer.norm1, layer.norm2, layer.norm3, layer.norm4),
            )
            for layer in transformer.layers
        ],
        last=between(transformer.final_attn_token_to_image),
        last_norm=transformer.norm_final_attn,
        iou=decoder.iou_prediction_head,
        draw=decoder.output_hypernetworks_mlps,
        enlarge=(first, second),
        norm=norm,
        activations=(activation, last),
    )


def of_sam2(decoder: Any) -> MaskDecoder:
    """transformers' ``Sam2MaskDecoder``."""

    def between(module: Any) -> Attention:
        return Attention(
            module.q_proj, module.k_proj, module.v_proj, module.o_proj, module.num_attention_heads
        )

    def among(module: Any) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            found: Tensor = module(query=query[None], key=key[None], value=value[None])[0]
            return found[0]

        return attend

    transformer, tokens = decoder.transformer, (decoder.obj_score_token, decoder.iou_token)
    return MaskDecoder(
        own=torch.cat([token.weight for token in (*tokens, decoder.mask_tokens)]),
        iou_at=1,
        blocks=[
            Block(
                layer.skip_first_layer_pe,
                among(layer.self_attn),
                between(layer.cross_attn_token_to_image),
                layer.mlp,
                between(layer.cross_attn_image_to_token),
                (layer.layer_norm1, layer.layer_norm2, layer.layer_norm3, layer.layer_norm4),
            )
            for layer in transformer.layers
        ],
        last=between(transformer.final_attn_token_to_image),
        last_norm=transformer.layer_norm_final_attn,
        iou=decoder.iou_prediction_head,
        draw=decoder.output_hypernetworks_mlps,
        enlarge=(decoder.upscale_conv1, decoder.upscale_conv2),
        norm=decoder.upscale_layer_norm,
        activations=(decoder.activation, decoder.activation),
    )


def decode_many(
    decoder: MaskDecoder,
    features: Tensor,
    positions: Tensor,
    sparse: Tensor,
    dense: Tensor,
    *,
    wanted: range,
    above: float,
    finer: Sequence[Tensor] = (),
    settle: Settle | None = None,
) -> Answers:
    """Answer ``b`` prompts.

    Args:
        decoder: of ``C`` channels.
        features: ``(1, C, h, w)``, the image.
        positions: ``(1, C, h, w)``.
        sparse: ``(b, k, C)``, points and boxes.
        dense: ``(1, C, h, w)``, or one that is broadcast to it: the same for all prompts.
        wanted: which of a prompt's masks are made.
        above: predicted IoU of the masks that are made; 0 makes all.
        finer: ``(1, C / 8, 4h, 4w)`` and ``(1, C / 4, 2h, 2w)``, added as the image is enlarged.
        settle: chooses among the masks wanted, all of which are made for it; None takes them all.
    """
    size = features.shape[-2], features.shape[-1]
    shared = _Shared((features + dense[:1]).flatten(2).mT, positions.flatten(2).mT)
    tokens = torch.cat([decoder.own.expand(len(sparse), -1, -1), sparse], dim=1)
    largest = shared.image.numel() * 2  # of the second convolution: 16 places of C / 8 channels
    several = len(tokens) if features.is_cuda else max(1, CACHED // largest)
    added = _by_place(finer, size)
    first = decoder.iou_at + 1
    masks, ious, good = [], [], []
    for part in torch.split(tokens, several):
        found, image = _transformed(decoder, part, shared)
        iou = decoder.iou(found[:, decoder.iou_at])[:, wanted.start : wanted.stop]
        least = above if above > 0 else -torch.inf
        drawn = torch.ones_like(iou[:, 0], dtype=torch.bool)
        if settle is None:
            drawn = (iou > least).any(dim=1)
        found, image = found[drawn], image[drawn]
        vectors = [decoder.draw[i](found[:, first + i]) for i in wanted]
        logits = _drawn(decoder, image, torch.stack(vectors, dim=1), size, added)
        if settle is not None:
            logits, iou = settle(logits, iou)
        passed = iou > least
        masks.append(logits[passed[drawn]])
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


def _transformed(decoder: MaskDecoder, start: Tensor, shared: _Shared) -> tuple[Tensor, Tensor]:
    """Tokens ``(b, t, C)`` and image ``(b, n, C)`` behind all blocks."""
    tokens, image = start, None
    for block in decoder.blocks:
        norms = block.norms
        if block.first:
            tokens = norms[0](block.own(tokens, tokens, tokens))
        else:
            placed = tokens + start
            tokens = norms[0](tokens + block.own(placed, placed, tokens))
        tokens = norms[1](tokens + _seen(block.seen, tokens + start, image, shared))
        tokens = norms[2](tokens + block.mlp(tokens))
        image = norms[3](_told(block.told, image, tokens + start, tokens, shared))
    assert image is not None  # a transformer has a block
    seen = _seen(decoder.last, tokens + start, image, shared)
    return decoder.last_norm(tokens + seen), image


def _seen(attention: Attention, tokens: Tensor, image: Tensor | None, shared: _Shared) -> Tensor:
    """What tokens ``(b, t, C)`` find in the image; None is the one that all prompts share."""
    heads = attention.heads
    query = _scaled(attention.query(tokens), heads)
    if image is None:
        key = shared.projected(attention.key, shared.placed, heads)
        weights = _times(query, key.mT).softmax(dim=-1)
        value = _times(weights, shared.projected(attention.value, shared.image, heads))
    else:
        folded = _times(query, _by_head(attention.key, heads)).flatten(1, 2)
        scores = unflatten(folded @ image.mT, 1, query.shape[1:3])
        scores += _times(query, shared.projected(attention.key, shared.places, heads).mT)
        seen = unflatten(scores.softmax(dim=-1).flatten(1, 2) @ image, 1, query.shape[1:3])
        value = _times(seen, _by_head(attention.value, heads).mT)
        value += unflatten(attention.value.bias, 0, (heads, 1, -1))
    answer: Tensor = attention.out(value.transpose(1, 2).flatten(2))
    return answer


def _told(
    attention: Attention, image: Tensor | None, tokens: Tensor, values: Tensor, shared: _Shared
) -> Tensor:
    """The image ``(b, n, C)`` plus what its places find in the tokens ``(b, t, C)``."""
    heads = attention.heads
    key = _scaled(attention.key(tokens), heads)
    if image is None:
        scores = _times(key, shared.projected(attention.query, shared.placed, heads).mT)
    else:
        folded = _times(key, _by_head(attention.query, heads)).flatten(1, 2)
        scores = unflatten(folded @ image.mT, 1, key.shape[1:3])
        scores += _times(key, shared.projected(attention.query, shared.places, heads).mT)
    weights = scores.softmax(dim=2).flatten(1, 2).mT
    out = unflatten(attention.out.weight, 1, (heads, -1)).permute(1, 2, 0)
    found = _times(_split(attention.value(values), heads), out)
    found[:, 0] += attention.out.bias  # the weights of a head add up to one
    found = found.flatten(1, 2)
    if image is None:
        return shared.image + weights @ found
    return image.baddbmm_(weights, found)  # nothing else looks at it before


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


def _by_head(projection: nn.Linear, heads: int) -> Tensor:
    """A projection's weights, ``(heads, d, C)``."""
    return unflatten(projection.weight, 0, (heads, -1))


def _drawn(
    decoder: MaskDecoder,
    image: Tensor,
    chosen: Tensor,
    size: tuple[int, int],
    added: Sequence[Tensor],
) -> Tensor:
    """Logits ``(b, n, 4h, 4w)``: the image enlarged, times one vector a mask ``(b, n, C / 8)``."""
    (first, second), norm = decoder.enlarge, decoder.norm
    enlarged = _four_each(image, first)
    if added:
        enlarged = enlarged + added[1]
    enlarged = functional.layer_norm(
        enlarged, enlarged.shape[-1:], norm.weight, norm.bias, norm.eps
    )
    enlarged = _four_each(decoder.activations[0](enlarged), second)
    if added:
        enlarged = enlarged + added[0]
    enlarged = decoder.activations[1](enlarged).flatten(1, -2)
    # Rows of few masks and many places: the other way round takes up to five times as long.
    logits = unflatten(chosen @ enlarged.mT, 2, (*size, 2, 2, 2, 2))
    logits = logits.permute(0, 1, 2, 4, 6, 3, 5, 7)
    return logits.reshape(*logits.shape[:2], 4 * size[0], 4 * size[1])


def _by_place(finer: Sequence[Tensor], size: tuple[int, int]) -> list[Tensor]:
    """Features as :func:`_four_each` leaves them: ``(n, 4, 4, C / 8)`` and ``(n, 4, C / 4)``."""
    if not finer:
        return []
    finest, fine = (one[0] for one in finer)
    height, width = size
    fours = fine.reshape(-1, height, 2, width, 2).permute(1, 3, 2, 4, 0)
    sixteens = finest.reshape(-1, height, 2, 2, width, 2, 2).permute(1, 4, 2, 5, 3, 6, 0)
    places = height * width
    return [
        sixteens.reshape(places, 4, 4, len(finest)),
        fours.reshape(places, 4, len(fine)),
    ]


def _four_each(places: Tensor, convolution: Any) -> Tensor:
    """A transposed 2x2 convolution of stride 2: ``(..., c)`` to ``(..., 4, c')``, row by row."""
    weight = convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)
    made = linear(places.flatten(0, -2), weight, convolution.bias.repeat(4))
    return made.reshape(*places.shape[:-1], 4, len(weight) // 4)
