"""Where a class name stands in a tokenized prompt."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Continued:
    """A tokenized text whose beginning ends in a name, and where that name's last word stands.

    Attributes:
        ids: with start and end token, padded to the longest text that the model reads.
        word: the first and the last index of the tokens of the name's last word.
        follows: the index of the first token behind the name, or None where there is none.
    """

    ids: tuple[int, ...]
    word: tuple[int, int]
    follows: int | None


def continued(tokenizer: Any, beginning: str, rest: str, length: int) -> Continued:
    """Tokenize a text in two parts, so that no word of the rest changes the name's tokens.

    Args:
        tokenizer: a ``CLIPTokenizer``.
        beginning: ends in the name; not empty.
        rest: what follows; it is cut off where the model reads no further.
        length: of the longest text that the model reads, start and end token included.

    Raises:
        UsageError: the beginning alone is too long, or its last word has no tokens.
    """
    first, last, more = (
        tokenizer(text, add_special_tokens=False).input_ids
        for text in (beginning, beginning.rsplit(maxsplit=1)[-1], rest)
    )
    if len(first) > length - 2 or not last:
        raise UsageError(
            f"{beginning!r} makes {len(first)} tokens, and its last word {len(last)}; the text "
            f"encoder reads 1 to {length - 2}: rename the class"
        )
    both = [*first, *more][: length - 2]
    ids = [tokenizer.bos_token_id, *both, tokenizer.eos_token_id]
    padding = [tokenizer.pad_token_id] * (length - len(ids))
    end = len(first)  # counted with the start token
    follows = end + 1 if len(both) > end else None
    return Continued((*ids, *padding), (end - len(last) + 1, end), follows)
