"""A tokenizer with one token per word, in the file format that Hugging Face loads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

PAD, UNKNOWN, START, END = "[PAD]", "[UNK]", "[SOS]", "[EOS]"

_WORD = r"\w+"


def vocabulary(texts: Iterable[str]) -> list[str]:
    """Every token in order of its id: padding first, words by name, the end token last.

    CLIP finds a text's end as the position of the highest id.
    """
    words = {word for text in texts for word in re.findall(_WORD, text.lower())}
    return [PAD, UNKNOWN, START, *sorted(words), END]


def write_tokenizer(tokens: list[str], folder: Path, length: int) -> None:
    """Write ``tokenizer.json`` and ``tokenizer_config.json``.

    Args:
        tokens: from :func:`vocabulary`.
        length: of a tokenized text, start and end included; longer ones are cut.
    """
    ids = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_WORD), "removed", invert=True)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, ids[START]), (END, ids[END])]
    )
    tokenizer.add_special_tokens([PAD, UNKNOWN, START, END])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": length,
        "pad_token": PAD,
        "unk_token": UNKNOWN,
        "bos_token": START,
        "eos_token": END,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
