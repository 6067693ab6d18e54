"""YAML whose every value knows its line, so that what is wrong with it can be pointed at.

Texts, lists and mappings are all there is. A value is the text that was written, whatever YAML
takes it for: it becomes a word of a command.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from ovbench.errors import UsageError
from ovbench.harness.contract.checks.nearest import nearest
from ovbench.harness.files.regular import regular

_DEEPEST = 8


@dataclass(frozen=True, slots=True)
class Marked:
    """A value and where it stands.

    Attributes:
        value: None where nothing is written behind a name.
        place: the file and the line, for messages.
    """

    value: str | Sequence[Marked] | Mapping[str, Marked] | None
    place: str

    def wrong(self, problem: str) -> UsageError:
        """What to raise: the place, then the problem."""
        return UsageError(f"{self.place}: {problem}")

    def text(self, what: str) -> str:
        """The text.

        Args:
            what: is written there, for the message.

        Raises:
            UsageError: it is none.
        """
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.wrong(f"{what} is a word, not {self._kind()}")
        return self.value

    def items(self, what: str) -> Sequence[Marked]:
        """The values of a list; a single text or mapping is a list of one.

        Raises:
            UsageError: there are none.
        """
        found = self.value if isinstance(self.value, list) else [self]
        if self.value is None or not found:
            raise self.wrong(f"{what} is empty")
        return found

    def fields(self, what: str, known: Iterable[str] | None = None) -> Mapping[str, Marked]:
        """The values of a mapping by their names.

        Args:
            known: the names that there may be; None for any.

        Raises:
            UsageError: it is none, or has another name.
        """
        if not isinstance(self.value, dict):
            raise self.wrong(f"{what} is a mapping of `name: value`, not {self._kind()}")
        if known is not None:
            for name, field in self.value.items():
                if name not in (names := list(known)):
                    hint = nearest(name, names, alike=0.7)  # "dataset" is no "set"
                    raise field.wrong(f"no {name!r} in {what}; {hint}")
        return self.value

    def _kind(self) -> str:
        if not self.value:
            return "nothing"
        if isinstance(self.value, str):
            return "a text"
        return "a mapping" if isinstance(self.value, Mapping) else "a list"


def read_marked(path: Path) -> Marked:
    """Read a YAML file.

    Raises:
        UsageError: it cannot be read, is no YAML, or holds what is more than texts, lists and
            mappings; names the line.
    """
    try:
        text = regular(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError:
        raise UsageError(f"{path}: not UTF-8") from None
    try:
        _refuse_tangles(text, path)
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        raise UsageError(f"{place}: not readable as YAML ({reason})") from None
    return Marked(None, f"{path}:1") if node is None else _marked(node, path)


def _refuse_tangles(text: str, path: Path) -> None:
    """Refuse what would take longer to read than anybody took to write it."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        place = f"{path}:{event.start_mark.line + 1}"
        if isinstance(event, yaml.AliasEvent):
            raise UsageError(f"{place}: write it out, without `*`")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise UsageError(f"{place}: nested too deeply")


def _marked(node: yaml.Node, path: Path) -> Marked:
    place = f"{path}:{node.start_mark.line + 1}"
    if isinstance(node, yaml.SequenceNode):
        return Marked([_marked(one, path) for one in node.value], place)
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Marked] = {}
        for key, value in node.value:
            where = f"{path}:{key.start_mark.line + 1}"
            if not isinstance(key, yaml.ScalarNode):
                raise UsageError(f"{where}: a name is a word")
            if key.value in found:
                raise UsageError(f"{where}: {key.value!r} stands here twice")
            # A value below its name is pointed at by the name's line.
            found[key.value] = Marked(_marked(value, path).value, where)
        return Marked(found, place)
    empty = node.tag == "tag:yaml.org,2002:null"
    return Marked(None if empty else str(node.value), place)
