"""The rows of ``ovbench list methods``: cards, presets, and which weights are on this machine."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from ovbench.errors import UsageError
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.supervision import Supervision
from ovbench.harness.registry.glance import card_of, missing_packages, needs_exemplars, preset_names
from ovbench.harness.registry.names import METHODS
from ovbench.harness.registry.trainings import supervision_of

_ROW_OF_A_TABLE = re.compile(r"table\d")


@dataclass(frozen=True, slots=True)
class Weight:
    """A checkpoint that a method loads by default.

    Attributes:
        name: ``"role/name"``.
        licence: empty where nobody has looked.
        bytes: of it here, else as its source states them; None where it does not.
        here: whether it is on this machine; None where nobody knows what it is.
        state: "there", "missing", or "differs" from what is published or was found first.
    """

    name: str
    licence: str
    bytes: int | None
    here: bool | None
    state: str


@dataclass(frozen=True)
class Row:
    """A method as it is listed.

    Attributes:
        summary: of its card, or what is said of a package whose method has none.
        presets: those that its source spells out.
    """

    name: str
    summary: str
    package: str
    card: MethodCard | None
    needs_exemplars: bool
    presets: tuple[str, ...]

    @cached_property
    def weights(self) -> tuple[Weight, ...]:
        """In the order of the card."""
        return tuple(map(_weight, self.card.weights)) if self.card else ()

    @property
    def paper(self) -> str:
        """Authors, venue and year."""
        card = self.card
        return f"{card.paper} {card.year or ''}".strip() if card else ""

    @property
    def origin(self) -> str:
        """The paper, the package if that is another than ovbench, and what is not installed."""
        if self.card is None:
            return self.summary
        package = "" if self.package == "ovbench" else f"package {self.package}"
        return ", ".join(filter(None, (self.paper, package, self.lacking)))

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """The packages that it needs and that are not installed."""
        return tuple(missing_packages(self.card))

    @property
    def lacking(self) -> str:
        """These in words; empty where it lacks nothing."""
        return f"not installed: {', '.join(self.missing)}" if self.missing else ""

    @property
    def kind(self) -> str:
        """What it learns from."""
        return self.card.kind if self.card else ""

    @cached_property
    def trained(self) -> Supervision | None:
        """What its default weights were trained with."""
        return supervision_of(self.card)

    @property
    def made_of(self) -> str:
        """The models behind it."""
        return ", ".join(self.card.backbones) if self.card else ""

    @property
    def code_licence(self) -> str:
        """Of the code that its authors released."""
        return self.card.code_licence if self.card else ""

    @property
    def weights_licence(self) -> str:
        """Each licence of its weights once."""
        return ", ".join(dict.fromkeys(weight.licence for weight in self.weights if weight.licence))

    @property
    def here(self) -> str:
        """How much of its weights is on this machine, or that some of it is another file."""
        count, there = len(self.weights), sum(weight.here is True for weight in self.weights)
        if not count:
            return ""
        if any(weight.state == "differs" for weight in self.weights):
            return "differs"
        return {0: "missing", count: "here"}.get(there, f"{there} of {count}")

    @property
    def chosen_presets(self) -> str:
        """The presets, where those that are rows of a paper's tables count as one."""
        rows = [name for name in self.presets if _ROW_OF_A_TABLE.match(name)]
        others = [name for name in self.presets if name not in rows]
        return ", ".join([*others, *(["rows of tables"] if rows else [])])

    def content(self) -> dict[str, Any]:
        """The row for machines, JSON-ready; without a card what it would say is null."""
        card = asdict(self.card) if self.card else dict.fromkeys(MethodCard.__dataclass_fields__)
        return {
            "name": self.name,
            **card,
            "summary": self.summary,
            "package": self.package,
            "needs_exemplars": self.needs_exemplars,
            "missing_packages": list(self.missing),
            "presets": list(self.presets),
            "weights": [asdict(weight) for weight in self.weights],
            "trained": self.trained.content() if self.trained else None,
        }


def row_of(name: str) -> Row:
    """One method.

    Raises:
        UsageError: there is none of that name, or its card cannot be read.
    """
    return _row(name, card_of(name))


def all_rows() -> list[Row]:
    """Every method; of one whose card cannot be read, the summary says why."""
    rows = []
    for name in METHODS.entries:
        try:
            rows.append(row_of(name))
        except UsageError as error:
            rows.append(replace(_row(name, None), summary=str(error)))
    return rows


def _row(name: str, card: MethodCard | None) -> Row:
    entry = METHODS.entry(name)
    return Row(
        name,
        card.summary if card else entry.summary,
        entry.package,
        card,
        needs_exemplars(name),
        tuple(preset_names(name)),
    )


def _weight(name: str) -> Weight:
    from ovbench.models.weights.inventory import item_of

    item = item_of(name)
    if item is None:
        return Weight(name, "", None, None, "unknown")
    return Weight(name, item.licence, item.bytes, item.state == "there", item.state)
