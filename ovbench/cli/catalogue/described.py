"""One method for ``ovbench list methods NAME``: its card, its settings and its presets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from rich.table import Table

from ovbench.cli.catalogue.rows import Row, row_of
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.settings import SettingInfo, describe
from ovbench.harness.registry.glance import refuse_missing_packages
from ovbench.harness.registry.names import METHODS

Cells = Sequence[str]


@dataclass(frozen=True)
class Described:
    """All that there is to say of a method.

    Attributes:
        published: what ``--preset published`` sets, benchmark by benchmark.
        varying: the settings that differ among these.
    """

    row: Row
    settings: Sequence[SettingInfo]
    presets: Mapping[str, Mapping[str, Any]]
    published: Sequence[Published]
    varying: Sequence[str]

    @classmethod
    def of(cls, name: str) -> Described:
        """Import a method.

        Raises:
            UsageError: there is none, it cannot be imported, or packages that it needs are missing.
        """
        from ovbench.harness.registry.presets import published_rows, varying_settings

        row = row_of(name)
        refuse_missing_packages(name)
        method = METHODS.load(name)
        return cls(
            row,
            describe(method.Settings),
            getattr(method, "presets", {}),
            published_rows(method),
            varying_settings(method),
        )

    @property
    def heading(self) -> str:
        """Its name and what it is."""
        return f"{self.row.name}: {self.row.summary}"

    def content(self) -> dict[str, Any]:
        """For machines, JSON-ready."""
        return {
            **self.row.content(),
            "settings": [asdict(item) for item in self.settings],
            "presets": self.presets,
            "published": [_content(row) for row in self.published],
        }

    def tables(self) -> Iterator[Table]:
        """The card, the settings, and what is published."""
        card = Table(show_header=False, box=None)
        for line in self._card():
            card.add_row(*line)
        yield card
        for title, headings, rows in self._sections():
            yield plain_table(title, headings, rows)

    def markdown(self) -> str:
        """The same for GitHub."""
        from ovbench.leaderboards.formats.markdown import escaped

        parts = [f"## {escaped(self.heading)}", markdown_table(("card", ""), self._card())]
        for title, headings, rows in self._sections():
            parts += [f"### {escaped(title)}", markdown_table(headings, rows)]
        presets = [f"- {escaped(line)}" for line in self.preset_lines()]
        parts += ["\n".join(presets) + "\n"] if presets else []
        return "\n".join(part if part.endswith("\n") else f"{part}\n" for part in parts)

    def preset_lines(self) -> list[str]:
        """What each preset sets."""
        return [f"--preset {name}: {_assigned(values)}" for name, values in self.presets.items()]

    def _sections(self) -> Iterator[tuple[str, Cells, list[Cells]]]:
        """Titles, headings and cells."""
        yield (
            f"Settings of {self.row.name}",
            ("setting", "type", "default", "meaning", "source"),
            [(one.name, one.type, _value(one.default), one.help, one.source)
             for one in self.settings],
        )  # fmt: skip
        if self.published:
            tuned = f"{', '.join(self.varying)} by benchmark" if self.varying else ""
            yield (
                f"--preset published: {tuned or 'the same for all benchmarks'}",
                ("dataset", "background", "settings", "names", "source"),
                [(one.dataset, one.background, _assigned(one.settings), one.names or "plain",
                  one.source) for one in self.published],
            )  # fmt: skip

    def _card(self) -> list[Cells]:
        """All that is known before the method is imported."""
        from ovbench.models.weights.catalogue import size_in_words

        row, card = self.row, self.row.card
        lines: list[Cells] = []
        if card:
            lines += [
                ("paper", row.paper or "none"),
                ("kind", card.kind),
                ("made of", row.made_of or "no model"),
                ("code", row.code_licence or "no licence known"),
            ]
            for weight in row.weights:
                licence = weight.licence or "no licence known"
                size = size_in_words(weight.bytes)
                lines.append(("weights", f"{weight.name}, {size}, {licence}, {weight.state}"))
            if row.trained:
                data = [f"{name} ({labels})" for name, labels in row.trained.data.items()]
                unknown = [f"{name} (unknown)" for name in row.trained.unknown]
                lines.append(("trained with", ", ".join([*data, *unknown]) or "nothing"))
                if benchmarks := row.trained.benchmarks:
                    lines.append(("saw training images of", ", ".join(benchmarks)))
            memory = "not measured" if card.gpu_gib is None else f"{card.gpu_gib:g} GiB"
            lines.append(("GPU memory", memory))
        if row.needs_exemplars:
            lines.append(("needs", "a prompt picture of every class"))
        if card and card.packages:
            lines.append(("packages", ", ".join(card.packages)))
        return [*lines, ("package", row.package)]


def plain_table(title: str, headings: Cells, rows: Sequence[Cells]) -> Table:
    """A table for a terminal, in which every column may fold."""
    table = Table(title=title or None, title_justify="left")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def markdown_table(headings: Cells, rows: Sequence[Cells]) -> str:
    """A table for GitHub; what stands first in a row is code, if it may be."""
    from ovbench.leaderboards.formats.markdown import escaped

    lines = [f"| {' | '.join(headings)} |", "|" + " --- |" * len(headings)]
    for name, *words in rows:
        first = f"`{name}`" if name == escaped(name) else escaped(name)
        lines.append(f"| {' | '.join([first, *map(escaped, words)])} |")
    return "\n".join(lines) + "\n"


def _content(row: Published) -> dict[str, Any]:
    """JSON-ready, whatever kind of mapping the settings are."""
    return {field.name: getattr(row, field.name) for field in fields(row)} | {
        "settings": dict(row.settings)
    }


def _value(default: object) -> str:
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _assigned(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items()) or "the defaults"
