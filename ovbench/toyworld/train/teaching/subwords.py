"""A ``CLIPTokenizer`` that knows the embedded world's words, each as one token."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

START, END = "<|startoftext|>", "<|endoftext|>"

_ALPHABET = [*"abcdefghijklmnopqrstuvwxyz0123456789.,-'!?:;()"]
_WORD_END = "</w>"


def write_clip_tokenizer(texts: Iterable[str], folder: Path, length: int) -> None:
    """Write ``vocab.json``, ``merges.txt`` and ``tokenizer_config.json``.

    Every word of ``texts`` becomes a single token; other words fall apart into pieces, at
    worst letters. The last two ids are the start and the end token, as in CLIP.

    Args:
        length: of a tokenized text, start and end included; longer ones are cut.
    """
    words = sorted({word for text in texts for word in re.findall(r"\w+", text.lower())})
    _write(learn_merges(words), folder, length)


def learn_merges(words: Iterable[str]) -> list[tuple[str, str]]:
    """Byte-pair encoding, learned until every word is one token.

    Ties go to the first pair in alphabetic order, so that the same words always give the
    same ids; the trainer of ``tokenizers`` does not promise that.
    """
    pieces = [[*word[:-1], word[-1] + _WORD_END] for word in words]
    merges = []
    while counts := Counter(pair for word in pieces for pair in pairwise(word)):
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        pieces = [_merged(word, best) for word in pieces]
    return merges


def _merged(word: list[str], pair: tuple[str, str]) -> list[str]:
    result: list[str] = []
    for piece in word:
        if result and (result[-1], piece) == pair:
            result[-1] += piece
        else:
            result.append(piece)
    return result


def _write(merges: list[tuple[str, str]], folder: Path, length: int) -> None:
    letters = [*_ALPHABET, *(letter + _WORD_END for letter in _ALPHABET)]
    tokens = [*letters, *("".join(pair) for pair in merges), START, END]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": length,
        "bos_token": START,
        "eos_token": END,
        "pad_token": END,
        "unk_token": END,
        "do_lower_case": True,
    }
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name, content in (("vocab.json", vocabulary), ("tokenizer_config.json", config)):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
