"""Images are given to a method together as long as memory suffices for them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from ovbench.harness.contract.progress import say
from ovbench.harness.contract.stages import is_out_of_memory

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Portions:
    """Cuts batches into what fits.

    Attributes:
        size: at most so many images at once; halved, and not raised again, when memory does not
            suffice for them.
    """

    def __init__(self, size: int, halved: Callable[[int], None]) -> None:
        """Begin with whole batches.

        Args:
            halved: told of every new size.
        """
        self.size, self._halved = size, halved

    def answered(
        self, batch: Sequence[Item], ask: Callable[[Sequence[Item]], Answer]
    ) -> Iterator[tuple[Sequence[Item], Answer]]:
        """Every portion of a batch with the answer to it.

        Raises:
            Exception: what ``ask`` raises, unless memory may suffice for fewer.
        """
        rest = batch
        while rest:
            portion = rest[: self.size]
            try:
                answer = ask(portion)
            except Exception as error:
                if len(portion) == 1 or not is_out_of_memory(error):
                    raise
            else:
                yield portion, answer
                rest = rest[len(portion) :]
                continue
            # Behind the handler: its error held every tensor of the method's frames.
            _free()
            self.size = len(portion) // 2
            say(f"memory does not suffice for {len(portion)} images at once, {self.size} are tried")
            self._halved(self.size)


def _free() -> None:
    """Give back what PyTorch's allocator holds in blocks that no longer fit."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
