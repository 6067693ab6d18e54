"""Which prompts list the classes, and how the maps of tokens become maps of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ovbench.adapters.pnp_ovss.settings import Settled
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.matchers.matcher import Matcher, TextPrompt


@dataclass(frozen=True, slots=True, eq=False)
class Listing:
    """One prompt.

    Attributes:
        names: ``(Q, n)`` float32; a name's map is the mean over its tokens (paper, section 3).
        total: ``(n,)`` float32; weighs tokens in the class-agnostic map.
    """

    prompt: TextPrompt
    names: Tensor
    total: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What an image is asked: one prompt or, where a vocabulary is too long, several.

    Attributes:
        labels: of the vocabulary, ascending, one per class map.
        rows: per name in the prompts, the index of its class in ``labels``.
    """

    listings: Sequence[Listing]
    labels: npt.NDArray[np.intp]
    rows: Tensor

    def classes(self, names: Tensor) -> Tensor:
        """From maps of names, ``(Q, h, w)``, to maps of classes, ``(K, h, w)``.

        A class is where any of its names is: the largest counts (our choice; the paper has
        one name per class).
        """
        maps = names.new_zeros(len(self.labels), *names.shape[1:])
        index = self.rows[:, None, None].expand_as(names)
        return maps.scatter_reduce(0, index, names, "amax", include_self=False)


class Asker:
    """Puts the classes of a vocabulary into prompts."""

    def __init__(self, model: Matcher, vocabulary: Vocabulary, settings: Settled) -> None:
        self._model, self._vocabulary, self._settings = model, vocabulary, settings
        self.question = lru_cache(maxsize=256)(self._question)

    def everything(self) -> Question:
        """About all classes."""
        first = self._vocabulary.offset
        return self.question(tuple(range(first, len(self._vocabulary))))

    def summary(self) -> str:
        """Into how many prompts of what length the classes went, for the result."""
        lengths = [str(len(one.prompt.token_ids)) for one in self.everything().listings]
        prompts = "1 prompt" if len(lengths) == 1 else f"{len(lengths)} prompts"
        return (
            f"{len(self._vocabulary.classes)} classes in {prompts} of "
            f"{' and '.join(lengths)} tokens"
        )

    def _question(self, labels: tuple[int, ...]) -> Question:
        """About some classes, by label, ascending."""
        first = self._vocabulary.offset
        queries = [
            (self._written(text), row)
            for row, label in enumerate(labels)
            for text in self._vocabulary.classes[label - first].queries
        ]
        prompts = self._model.prompts(
            [text for text, _ in queries],
            self._settings.prefix,
            max_tokens=self._settings.max_tokens,
        )
        rows = torch.tensor([row for _, row in queries], device=self._model.device)
        listings = [self._listing(prompt) for prompt in prompts]
        return Question(listings, np.array(labels, dtype=np.intp), rows)

    def _written(self, name: str) -> str:
        return name.replace(" ", "").replace("-", "") if self._settings.join_words else name

    def _listing(self, prompt: TextPrompt) -> Listing:
        read: Sequence[tuple[int, ...]] = prompt.positions
        if self._settings.name_tokens == "first":
            read = first_spelt(self._model.pieces(prompt), prompt.positions)
        names = torch.zeros(len(read), len(prompt.token_ids))
        for row, positions in zip(names, read, strict=True):
            row[list(positions)] = 1 / len(positions)
        if self._settings.drop_by == "classes":
            total = names.sum(dim=0)
        else:
            total = torch.zeros(len(prompt.token_ids))
            total[prompt.positions[0][0] :] = 1
            total[-1] = self._settings.drop_by == "tokens_and_end"
        return Listing(prompt, names.to(self._model.device), total.to(self._model.device))


def first_spelt(
    pieces: Sequence[str], positions: Sequence[tuple[int, ...]]
) -> list[tuple[int, ...]]:
    """Per name the first tokens in a row whose pieces are its own.

    Args:
        pieces: of the prompt's tokens, without marks of where words begin.
        positions: per name, in order, of its own tokens.
    """
    begin, found = positions[0][0], []
    for own in positions:
        name = [pieces[at] for at in own]
        start = next(i for i in range(begin, own[0] + 1) if pieces[i : i + len(own)] == name)
        found.append(tuple(range(start, start + len(own))))
    return found
