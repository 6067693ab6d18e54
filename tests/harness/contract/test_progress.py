"""Work that takes long, with somebody who watches and with nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from ovbench.harness.contract.progress import progress, say, watching


class Notes:
    def __init__(self) -> None:
        self.all: list[object] = []

    @contextmanager
    def watch(self, title: str, total: int) -> Iterator[Callable[[float], None]]:
        self.all.append((title, total))
        yield self.all.append
        self.all.append("end")

    def says(self, line: str) -> None:
        self.all.append(line)


def work() -> None:
    say("two things")
    with progress("things", total=2) as advance:
        advance(1)
        advance(0.5)


def test_nobody_watches() -> None:
    work()


def test_a_watcher_is_told_while_it_watches() -> None:
    notes = Notes()
    with watching(notes):
        work()
    work()
    assert notes.all == ["two things", ("things", 2), 1, 0.5, "end"]


def test_the_outer_watcher_has_its_turn_again_even_after_a_failure() -> None:
    outer, inner = Notes(), Notes()
    with watching(outer):
        with suppress(ZeroDivisionError), watching(inner):
            say("within")
            raise ZeroDivisionError
        say("behind")
    assert (outer.all, inner.all) == (["behind"], ["within"])
