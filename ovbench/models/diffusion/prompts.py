"""Where a class name stands in a tokenized prompt."""

from __future__ import annotations

from typing import Any

from ovbench.errors import UsageError


def name_positions(tokenizer: Any, prompt: str, name: str, length: int) -> tuple[int, ...]:
    """The indices of a name's tokens in a prompt as a ``CLIPTokenizer`` gives it to the model.

    A name's words have the same tokens inside a prompt as alone, since CLIP's byte pairs never
    join words. The last occurrence counts: prompts end in the name.

    Args:
        length: of the longest text that the model reads, start and end token included.

    Returns:
        In order, counted with the start token; those that are cut off with the prompt's end
        are left out.

    Raises:
        ValueError: the prompt does not contain the name.
        UsageError: all of the name is cut off.
    """
    tokens, wanted = (tokenizer.tokenize(text) for text in (prompt, name))
    count = len(wanted)
    places = [i for i in range(len(tokens) - count + 1) if tokens[i : i + count] == wanted]
    if not wanted or not places:
        raise ValueError(f"the prompt {prompt!r} does not contain {name!r}")
    start = places[-1] + 1  # behind the start token
    positions = tuple(range(start, min(start + count, length - 1)))  # before the end token
    if not positions:
        raise UsageError(
            f"the prompt {prompt!r} is too long: its text encoder reads {length} tokens, and "
            f"{name!r} comes behind them; shorten it"
        )
    return positions
