"""Time OVDiff's prototype matching, and its memory, against the plain product.

    python -m benchmarks.prototypes

One image of 512 by 512 pixels, 171 classes of 65 prototypes, in three feature spaces of the sizes
of Stable Diffusion 1.5, DINO ViT-B/8 and CLIP ViT-B/16. The plain way keeps the similarities of
all prototypes at all places before it takes each class's maximum. Values are compared before
anything is timed. Repeats are interleaved, and medians of CPU time are shown; peak memory is that
of a fresh process for each contestant, less what it had before (Linux).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.comparison import Row, in_turn, peak_mib, show
from ovbench.adapters.ovdiff.matching import PrototypeSet, nearest_similarity
from ovbench.harness.contract.stages import peak_memory

CLASSES, PROTOTYPES = 171, 65


@dataclass(frozen=True, slots=True)
class Space:
    """A feature space: its name, its channels and the side of its grid."""

    name: str
    channels: int
    side: int

    def features(self) -> Tensor:
        """Of one image, ``(D, h, w)``."""
        generator = torch.Generator().manual_seed(0)
        return torch.randn(self.channels, self.side, self.side, generator=generator)

    def prototypes(self) -> PrototypeSet:
        """Of all classes."""
        generator = torch.Generator().manual_seed(1)
        shape = (PROTOTYPES, self.channels)
        return PrototypeSet.of([torch.randn(shape, generator=generator) for _ in range(CLASSES)])


SPACES = (
    Space("Stable Diffusion", 7680, 64),
    Space("DINO ViT-B/8", 768, 56),
    Space("CLIP ViT-B/16", 768, 28),
)


def ours(features: Tensor, prototypes: PrototypeSet) -> Tensor:
    """ovbench."""
    return nearest_similarity(features, prototypes, range(CLASSES))


def plain(features: Tensor, prototypes: PrototypeSet) -> Tensor:
    """All similarities, then the maxima."""
    vectors = prototypes.vectors.reshape(CLASSES, PROTOTYPES, -1)
    return torch.einsum("kpd,dhw->kphw", vectors, functional.normalize(features, dim=0)).amax(dim=1)


CONTESTANTS: dict[str, Callable[[Tensor, PrototypeSet], Tensor]] = {"ours": ours, "plain": plain}


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        name, space = arguments.memory_of
        print(own_peak(CONTESTANTS[name], SPACES[int(space)]))
        return
    show(rows(arguments.repeats))


def rows(repeats: int = 3) -> Iterator[Row]:
    """Seconds of processor time, and MiB beyond the input."""
    for number, space in enumerate(SPACES):
        features, prototypes = space.features(), space.prototypes()
        torch.testing.assert_close(ours(features, prototypes), plain(features, prototypes))
        calls = {name: partial(one, features, prototypes) for name, one in CONTESTANTS.items()}
        spent = in_turn(calls, repeats, clock=time.process_time)
        name = f"{space.name}, {space.channels} × {space.side}²"
        yield Row.of(name, "one product", "s", spent["ours"], spent["plain"])
        own, other = (
            peak_mib("benchmarks.prototypes", "--memory-of", one, str(number)) for one in calls
        )
        yield Row.of(name, "one product", "MiB", [own], [other])


def own_peak(contestant: Callable[[Tensor, PrototypeSet], Tensor], space: Space) -> int:
    """Growth of this process's peak resident memory."""
    features, prototypes = space.features(), space.prototypes()
    contestant(features[:, :1, :1], prototypes)  # libraries are loaded and threads started
    # Making the prototypes took more than what follows: the peak starts anew.
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_memory("cpu").rss or 0
    contestant(features, prototypes)
    return (peak_memory("cpu").rss or 0) - before


if __name__ == "__main__":
    main()
