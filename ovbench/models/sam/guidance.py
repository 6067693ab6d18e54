"""What SAM's mask decoder can be told beside a prompt: where to look, and what for.

Target-guided attention and target-semantic prompting of Zhang et al., "Personalize Segment
Anything Model with One Shot" (ICLR 2024), as their code changes the decoder's transformer
(github.com/ZrrSkywalker/Personalize-SAM, per_segment_anything/modeling/transformer.py). Here
the authors of SAM keep their own transformer, and hooks do the same to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Guidance:
    """What the decoder is told.

    Attributes:
        attention: ``(h * w,)``, added to every token's attention over the image in every
            block, behind the softmax, which is then taken again; or None.
        target: ``(C,)``, added to all tokens before every block and before the last
            attention, or None.
    """

    attention: Tensor | None = None
    target: Tensor | None = None


@contextmanager
def guided(decoder: Any, guidance: Guidance | None) -> Iterator[None]:
    """Let a ``MaskDecoder`` follow the guidance within the block."""
    with ExitStack() as stack:
        if guidance is not None and guidance.target is not None:
            _add_target(decoder.transformer, guidance.target, stack)
        if guidance is not None and guidance.attention is not None:
            hook = _attend_again(guidance.attention)
            for layer in decoder.transformer.layers:
                attention = layer.cross_attn_token_to_image
                handle = attention.register_forward_hook(hook, with_kwargs=True)
                stack.callback(handle.remove)
        yield


def _add_target(transformer: Any, target: Tensor, stack: ExitStack) -> None:
    # The code adds in place before the first block, so that the tokens as they came in, which
    # stand for their positions in all blocks, have the target in them as well.
    def to_tokens(_: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        embedding, positions, tokens = args
        return embedding, positions, tokens + target

    stack.callback(transformer.register_forward_pre_hook(to_tokens).remove)
    for layer in transformer.layers[1:]:
        handle = layer.register_forward_pre_hook(_adding(target, "queries"), with_kwargs=True)
        stack.callback(handle.remove)
    final = transformer.final_attn_token_to_image
    handle = final.register_forward_pre_hook(_adding(target, "q"), with_kwargs=True)
    stack.callback(handle.remove)


def _adding(target: Tensor, name: str) -> Any:
    def add(_: Any, args: Any, kwargs: Mapping[str, Tensor]) -> tuple[Any, dict[str, Tensor]]:
        return args, {**kwargs, name: kwargs[name] + target}

    return add


def _attend_again(favour: Tensor) -> Any:
    """A hook in whose place the attention's answer comes: its own cannot be changed within."""

    def attend(module: Any, _: Any, kwargs: Mapping[str, Tensor], __: Tensor) -> Tensor:
        projections = (module.q_proj, module.k_proj, module.v_proj)
        query, key, value = (
            module._separate_heads(project(kwargs[name]), module.num_heads)
            for project, name in zip(projections, "qkv", strict=True)
        )
        weights = torch.softmax(query @ key.mT / math.sqrt(query.shape[-1]), dim=-1)
        weights = torch.softmax(weights + favour, dim=-1)
        answer: Tensor = module.out_proj(module._recombine_heads(weights @ value))
        return answer

    return attend
