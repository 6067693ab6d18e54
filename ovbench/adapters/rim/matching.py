"""Which reference is a region most like: compared directly, or by how both rank some agents.

Relation-aware matching (paper, section 3.5): a region's cosines with a few agents give every
ranking of these agents a probability, as in a draw without replacement (Plackett and Luce). A
reference ranks the same agents in its own way, and the reference whose probabilities point in the
same direction as the region's wins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

Selection: TypeAlias = Literal["top", "random"]
Positivity: TypeAlias = Literal["clamp", "exp"]
Winner: TypeAlias = Literal["any", "agent"]

SMALLEST = 1e-6
"""What a cosine that is not positive counts as where scores are clamped."""

CHUNK_BYTES = 32 * 2**20
"""Distributions of references held at a time; a region at least."""


@dataclass(frozen=True, slots=True, eq=False)
class References:
    """What regions are compared with.

    Attributes:
        whole: ``(R, D)``, one feature per reference.
        parts: ``(S, D)``, the references' subcategories, or the references themselves.
        owner: ``(S,)`` int64, the reference that each part belongs to; each has one at least.
        agents: ``(R,)`` bool, the references that may be agents; one at least.
    """

    whole: Tensor
    parts: Tensor
    owner: Tensor
    agents: Tensor

    def merge(self, similarity: Tensor) -> Tensor:
        """From similarities to parts, ``(P, S)``, to the mean over each reference's, ``(P, R)``.

        Equation 10 has the sum; where all have the same number of parts that is the same
        order, and elsewhere the mean gives no reference an advantage by its number.
        """
        total = similarity.new_zeros(len(similarity), len(self.whole))
        total.index_add_(1, self.owner, similarity)
        return total / torch.bincount(self.owner, minlength=len(self.whole))


@dataclass(frozen=True, slots=True)
class Ranking:
    """How agents are chosen and ranked.

    Attributes:
        agents: how many; with N of them there are N! rankings.
        selection: the references most like the region, or random ones.
        positivity: how cosines become the positive scores that equation 7 needs: what is not
            positive counts as :data:`SMALLEST`, or the exponential of cosine / temperature.
        winner: any reference, or one of the region's agents.
    """

    agents: int
    selection: Selection = "top"
    positivity: Positivity = "clamp"
    temperature: float = 0.1
    winner: Winner = "any"


def by_cosine(regions: Tensor, references: References) -> Tensor:
    """Cosines of regions ``(P, D)`` with references; ``(P, R)`` float32."""
    return references.merge(_unit(regions) @ _unit(references.parts).mT)


def by_relation(
    regions: Tensor, references: References, ranking: Ranking, generator: torch.Generator
) -> Tensor:
    """Cosines between distributions over the rankings of agents (equations 6 to 10).

    Args:
        regions: ``(P, D)``.
        generator: on the CPU; only used for random agents.

    Returns:
        ``(P, R)`` float32; -1 for a reference that may not win. All ones where there is one
        agent, which can only be ranked first.
    """
    whole = _unit(references.whole)
    cosines = _unit(regions) @ whole.mT
    agents = choose_agents(cosines, references.agents, ranking, generator)
    chosen = log_scores(cosines.gather(1, agents), ranking)
    # (R, S): of every reference as an agent, with every part.
    of_parts = log_scores(whole @ _unit(references.parts).mT, ranking)
    similarity = cosines.new_empty(len(regions), len(references.parts))
    for rows in _chunks(len(regions), len(references.parts), agents.shape[1]):
        region = ranking_distribution(chosen[rows])
        part = ranking_distribution(of_parts[agents[rows]].mT)
        similarity[rows] = functional.cosine_similarity(region[:, None], part, dim=-1)
    merged = references.merge(similarity)
    if ranking.winner == "any":
        return merged
    return torch.full_like(merged, -1).scatter(1, agents, merged.gather(1, agents))


def choose_agents(
    cosines: Tensor, eligible: Tensor, ranking: Ranking, generator: torch.Generator
) -> Tensor:
    """Indices of each region's agents, ``(P, N)``; fewer where not so many are eligible.

    Args:
        cosines: ``(P, R)``.
        eligible: ``(R,)`` bool.
    """
    if ranking.selection == "random":
        cosines = torch.rand(cosines.shape, generator=generator).to(cosines.device)
    count = min(ranking.agents, int(eligible.sum()))
    return cosines.masked_fill(~eligible, -torch.inf).topk(count).indices


def log_scores(cosines: Tensor, ranking: Ranking) -> Tensor:
    """Logarithms of the positive scores that equation 7 draws by."""
    if ranking.positivity == "exp":
        return cosines / ranking.temperature
    return cosines.clamp(min=SMALLEST).log()


def ranking_distribution(logarithms: Tensor) -> Tensor:
    """The probability of every ranking (equation 7).

    Args:
        logarithms: ``(..., N)``, of scores; only their differences matter.

    Returns:
        ``(..., N!)`` in the order of :func:`itertools.permutations`; each row sums to 1.
    """
    subsets, remaining = _rankings(logarithms.shape[-1], logarithms.device)
    # A denominator is the sum over those not yet drawn. There are 2^N - 1 such sets for N!
    # rankings of N draws each, so that each set is summed up once.
    sums = (logarithms[..., None, :] + subsets).logsumexp(dim=-1)
    return (logarithms.sum(dim=-1, keepdim=True) - sums @ remaining).exp()


@lru_cache(maxsize=16)
def _rankings(count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """All sets of agents, and the sets that are left before each draw of each ranking.

    Returns:
        ``(2^N - 1, N)``, 0 for members and -inf for others; ``(2^N - 1, N!)`` of 0 and 1.
    """
    codes = torch.arange(1, 2**count)
    member = (codes[:, None] >> torch.arange(count)) & 1
    orders = torch.tensor(list(permutations(range(count))))
    left = (1 << orders).flip(1).cumsum(dim=1)
    remaining = functional.one_hot(left - 1, len(codes)).sum(dim=1).mT
    return member.to(device, torch.float32).log(), remaining.to(device, torch.float32)


def _chunks(regions: int, parts: int, agents: int) -> Iterator[slice]:
    """Ranges of regions whose intermediate results fit into :data:`CHUNK_BYTES`."""
    subsets, remaining = _rankings(agents, torch.device("cpu"))
    numbers = parts * (subsets.numel() + len(subsets) + 2 * remaining.shape[1])
    step = max(1, CHUNK_BYTES // (4 * numbers))
    return (slice(start, start + step) for start in range(0, regions, step))


def _unit(features: Tensor) -> Tensor:
    return functional.normalize(features.float(), dim=-1)
