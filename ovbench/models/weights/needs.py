"""What a method loads: by default, and by every choice of the settings that pick weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ovbench.errors import UsageError
from ovbench.harness.contract.card import RANDOM, Pick, picked
from ovbench.harness.contract.checks.nearest import nearest
from ovbench.models.weights import catalogue
from ovbench.models.weights.catalogue import look_up


@dataclass(frozen=True, slots=True)
class Need:
    """A checkpoint that a method can load.

    Attributes:
        checkpoint: ``"role/name"``.
        settings: the values that choose it; none where no setting does.
        default: it is loaded unless a setting says otherwise.
    """

    checkpoint: str
    settings: Mapping[str, str] = field(default_factory=dict)
    default: bool = False


def needs(weights: Sequence[str], picks: Sequence[Pick]) -> list[Need]:
    """Every checkpoint that a method can load and that the catalogue or the method names.

    Whether a method can use what its setting takes, such as a network of another kind under the
    same role, it says itself.

    Args:
        weights: ``"role/name"`` of what the defaults load, as the method's card has them.
        picks: the settings that choose.
    """
    found = [Need(name, _by_default(picks, name), default=True) for name in weights]
    known = [f"{entry.role}/{entry.name}" for entry in catalogue.ENTRIES]
    for pick in picks:
        named = known if isinstance(pick.means, str) else list(pick.means.values())
        for name in dict.fromkeys([*filter(None, [pick.checkpoint({})]), *named]):
            values = pick.values(name)
            if values is not None and name not in weights:
                found.append(Need(name, values))
    return [one for need in found for one in (need, *_beside(need, weights))]


def chosen(
    method: str, weights: Sequence[str], picks: Sequence[Pick], asked: Mapping[str, str]
) -> list[str]:
    """``"role/name"`` of all that a method loads, with some settings at other values.

    Args:
        method: its name, for messages.
        weights, picks: see :func:`needs`.
        asked: settings and their values; what such a setting chooses takes the place of what it
            chose by default.

    Raises:
        UsageError: a setting that chooses no weights, a value that stands for none, or a
            checkpoint of which nothing is known.
    """
    choosing = [name for pick in picks for name in pick.reads]
    for name in asked:
        if name not in choosing:
            raise UsageError(
                f"{method} has no setting {name!r} that chooses weights; {nearest(name, choosing)}"
            )
    for pick in picks:
        _refuse_strange(pick, asked)
    return _with_all_beside(picked(weights, picks, asked))


def _refuse_strange(pick: Pick, asked: Mapping[str, str]) -> None:
    """Refuse a value that stands in no list of a setting's."""
    if isinstance(pick.means, str) or not pick.defaults.keys() & asked.keys():
        return
    (name,) = pick.defaults
    if asked[name] not in {*pick.means, RANDOM}:
        known = ", ".join(pick.means)
        raise UsageError(f"{name}={asked[name]!r} names no weights; there are: {known}")


def _with_all_beside(names: Iterable[str]) -> list[str]:
    """These, and what is loaded with them; each is known."""
    found: dict[str, None] = {}
    for name in names:
        role, _, rest = name.partition("/")
        found |= dict.fromkeys([name, *look_up(role, rest).beside])
    return list(found)


def _beside(need: Need, weights: Sequence[str]) -> list[Need]:
    """What is loaded with it and stands nowhere else."""
    try:
        entry = look_up(*need.checkpoint.split("/", 1))
    except UsageError:  # another package's, of which nothing is known
        return []
    return [replace(need, checkpoint=other) for other in entry.beside if other not in weights]


def _by_default(picks: Sequence[Pick], checkpoint: str) -> dict[str, str]:
    """The settings whose defaults choose a checkpoint."""
    found: dict[str, str] = {}
    for pick in picks:
        if pick.checkpoint({}) == checkpoint:
            found |= pick.defaults
    return found
