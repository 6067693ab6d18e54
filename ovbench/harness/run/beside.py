"""Work that is done beside the main loop, in its order and one piece at a time."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Generic, Self, TypeVar

Found = TypeVar("Found")


class Beside(Generic[Found]):
    """Does one piece of work in a thread while its owner goes on.

    There is at most one: whoever gives the next waits for it, so that nothing piles up. What it
    raises comes up there, or when the block ends, be it by an error: that of the work came first.

    Two queues and a thread, where an executor with its futures takes six times as long for a
    handover: that is time of the owner's, once an image.

    Args:
        done: is given what each piece found, in the owner's thread.
    """

    def __init__(self, done: Callable[[Found], None]) -> None:
        self._done = done
        self._given: SimpleQueue[Callable[[], Found] | None] = SimpleQueue()
        self._found: SimpleQueue[tuple[Found] | BaseException] = SimpleQueue()
        self._thread = Thread(target=self._work, name="ovbench-count", daemon=True)
        self._busy = False

    def give(self, work: Callable[[], Found]) -> None:
        """Begin a piece of work as soon as the one before is done.

        Raises:
            Exception: what that one raised.
        """
        self.settle()
        self._busy = True
        self._given.put(work)

    def settle(self) -> None:
        """Wait until nothing is left to do.

        Raises:
            Exception: what the work raised.
        """
        if self._busy:
            found = self._found.get()
            self._busy = False
            if isinstance(found, BaseException):
                raise found
            self._done(*found)

    def _work(self) -> None:
        while work := self._given.get():
            try:
                self._found.put((work(),))
            except BaseException as error:  # it comes up in the owner's thread
                self._found.put(error)
            del work  # its pictures need not last until the next piece is given

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.settle()
        finally:
            self._given.put(None)
            self._thread.join()
