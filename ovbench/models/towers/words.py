"""From texts to tokens, by a tokenizer of the hub or, for random weights, without one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from zlib import crc32

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.files.regular import regular
from ovbench.models.weights.checkpoints import locate

Words = Callable[[Sequence[str]], tuple[Tensor, Tensor]]
"""Tokens of texts, ``(n, t)`` int64 with 0 behind a text's end, and bool which of them are some."""

ROLE = "tokenizer"


def load_words(name: str, longest: int, runtime: Runtime) -> Words:
    """A tokenizer of the catalogue, or of a hub id; see :func:`words_in`."""
    return words_in(locate(ROLE, name, runtime).path, longest)


def words_in(folder: Path, longest: int) -> Words:
    """The tokenizer of a folder, with its marks around every text, as its own file has them.

    Args:
        longest: tokens of a text, marks included; it is cut off there.

    Raises:
        UsageError: a file that is damaged.
    """
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    try:
        found = Tokenizer.from_buffer(regular(file).read_bytes())
    except Exception as error:  # tokenizers has no class for its own
        reason = str(error).strip().split("\n", 1)[0]
        raise UsageError(f"{file}: cannot be loaded: {reason}") from None
    found.enable_truncation(longest)
    found.no_padding()

    def tokens(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        return _padded([encoded.ids for encoded in found.encode_batch(list(texts))])

    return tokens


def arbitrary_words(known: int) -> Words:
    """One token for every word, the same for the same word, for weights that know no words.

    Args:
        known: how many tokens a model has; 0 and 1 are left out, since 0 stands behind the end.
    """

    def tokens(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        return _padded([[2 + crc32(word.encode()) % (known - 2) for word in text.split()] + [1]
                        for text in texts])  # fmt: skip

    return tokens


def _padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    tokens = pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    lengths = torch.tensor([len(row) for row in rows])
    return tokens, torch.arange(tokens.shape[1]) < lengths[:, None]
