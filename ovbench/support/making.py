"""Making the support pictures that are not there yet, each by one of many processes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from rich.filesize import decimal

from ovbench.errors import UsageError
from ovbench.harness.contract.progress import Advance, progress, say
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.files.shared import alone, claimed
from ovbench.support.recipe import Recipe
from ovbench.support.shelf import Picture, Shelf
from ovbench.support.stored import model_of

if TYPE_CHECKING:
    from ovbench.models.diffusion.model import Diffusion

BATCH = 8
"""Pictures made together, as in OVDiff's code. The last bits of a picture depend on how many
these are, so a batch is always the pictures 8k to 8k + 7, as far as they are asked for."""

_MARGIN = 4096
"""Bytes per picture for what surrounds its pixels in files, and for whole blocks of a disk."""


def make_missing(
    recipe: Recipe,
    runtime: Runtime,
    count: int,
    shelves: Mapping[str, Shelf],
    lacking: Mapping[str, int],
) -> dict[str, dict[int, str]]:
    """Make what is missing of the first ``count`` pictures of some classes.

    Classes that another process is making come last, and are left to it unless it dies.

    Args:
        shelves: by class.
        lacking: by class, how many pictures its shelf lacks.

    Returns:
        By class and index, the digests of all pictures.

    Raises:
        UsageError: as :meth:`ovbench.support.SupportSets.make` says.
    """
    made: dict[str, dict[int, str]] = {}
    with ExitStack() as shown:
        maker = _Maker(recipe, runtime, count, dict(lacking), shown)
        for name, shelf in shelves.items():
            with claimed(shelf.folder) as mine:
                if mine:
                    made[name] = maker.fill(name, shelf)
        for name in [name for name in shelves if name not in made]:
            with alone(shelves[name].folder, f"making pictures of {name!r}"):
                made[name] = maker.fill(name, shelves[name])
    return made


class _Maker:
    """Makes pictures class by class, and says how it goes on."""

    def __init__(
        self,
        recipe: Recipe,
        runtime: Runtime,
        count: int,
        lacking: dict[str, int],
        shown: ExitStack,
    ) -> None:
        """Nothing is loaded yet.

        Args:
            lacking: by class, how many pictures are to be made by this process or another.
            shown: as long as progress is.
        """
        self._recipe, self._runtime, self._count = recipe, runtime, count
        self._lacking, self._shown = lacking, shown
        self._advance: Advance = lambda _done: None
        self._diffusion: Diffusion | None = None
        self._estimated = False

    @property
    def _left(self) -> int:
        return sum(self._lacking.values())

    def fill(self, name: str, shelf: Shelf) -> dict[int, str]:
        """Complete one class, which no other process is making now."""
        whole = shelf.whole(self._count)
        self._advance(self._lacking[name] - (self._count - len(whole)))  # made by another one
        self._lacking[name] = self._count - len(whole)
        for start in range(0, self._count, BATCH):
            batch = range(start, min(start + BATCH, self._count))
            lacking = [index for index in batch if index not in whole]
            if lacking:
                pictures = self._generate(name, batch, shelf.folder, len(lacking))
                whole |= shelf.put({index: pictures[index] for index in lacking})
                self._lacking[name] -= len(lacking)
        return whole

    def _generate(
        self, name: str, batch: Sequence[int], folder: Path, new: int
    ) -> dict[int, Picture]:
        """The pictures of a batch, of which some are new."""
        from ovbench.models.diffusion.model import Request

        diffusion = self._load(folder)
        recipe = self._recipe
        requests = []
        for index in batch:
            seed, draw = recipe.noise_of(name, index)
            requests.append(Request(recipe.text(name), seed, recipe.negative, name, draw))
        begin = time.perf_counter()
        found = diffusion.generate(
            requests,
            recipe.sampling,
            rule=recipe.rule,
            batch_size=BATCH,
            progress=lambda _done, steps: self._advance(new / steps),
        )
        self._estimate(len(batch), time.perf_counter() - begin, new)
        assert found.attribution is not None
        attribution = found.attribution.cpu().numpy()
        return {
            index: Picture(image, map_)
            for index, image, map_ in zip(batch, found.images, attribution, strict=True)
        }

    def _load(self, folder: Path) -> Diffusion:
        """Stable Diffusion; when it is loaded, what is ahead is said."""
        if self._diffusion is None:
            from ovbench.models.diffusion.model import load_diffusion

            self._diffusion = load_diffusion(self._recipe.model, self._runtime)
            self._announce(self._diffusion, folder.parent)
            # Not before: what loading takes says nothing of what pictures take.
            self._advance = self._shown.enter_context(progress("support pictures", self._left))
        return self._diffusion

    def _announce(self, diffusion: Diffusion, home: Path) -> None:
        """What is made, and whether there is room for it.

        Raises:
            UsageError: there is none.
        """
        sampling, pictures = self._recipe.sampling, self._left
        height, width = (side or diffusion.image_size for side in (sampling.height, sampling.width))
        room = pictures * (3 * height * width + 4 * height * width // diffusion.cell**2 + _MARGIN)
        free = shutil.disk_usage(home).free
        classes = sum(lacking > 0 for lacking in self._lacking.values())
        model = model_of(diffusion.checkpoints[0].name)
        say(
            f"{pictures} support pictures of {classes} classes, {width}x{height}, "
            f"{sampling.steps} steps, by {model}; they take at most "
            f"{decimal(room)} of {decimal(free)} free in {home}"
        )
        if room > free:
            raise UsageError(
                f"{home}: {decimal(free)} free, and the support pictures may take {decimal(room)}; "
                "make room there, or set OVBENCH_CACHE to another folder"
            )

    def _estimate(self, made: int, seconds: float, new: int) -> None:
        """Behind the first batch, how long the others will take."""
        left = self._left - new
        if left and not self._estimated:
            self._estimated = True
            ahead = timedelta(seconds=round(seconds / made * left))
            say(f"{made} took {seconds:.1f} s; the other {left} will take about {ahead}")
