"""Work that is done beside the main loop, in its order and one piece at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

Found = TypeVar("Found")


class Beside(Generic[Found]):
    """Does one piece of work in a thread while its owner goes on.

    There is at most one: whoever gives the next waits for it, so that nothing piles up. What it
    raises comes up there, or when the block ends, be it by an error: that of the work came first.

    Args:
        done: is given what each piece found, in the owner's thread.
    """

    def __init__(self, done: Callable[[Found], None]) -> None:
        self._done = done
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ovbench-count")
        self._waiting: Future[Found] | None = None

    def give(self, work: Callable[[], Found]) -> None:
        """Begin a piece of work as soon as the one before is done.

        Raises:
            Exception: what that one raised.
        """
        self.settle()
        self._waiting = self._pool.submit(work)

    def settle(self) -> None:
        """Wait until nothing is left to do.

        Raises:
            Exception: what the work raised.
        """
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._done(waiting.result())

    def __enter__(self) -> Self:
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
            self._pool.shutdown()
