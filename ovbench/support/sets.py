"""Support sets: pictures that Stable Diffusion makes of a class, with where its name acts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ovbench.harness.contract.progress import say
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.files.cache import cache_home, digest_of_key
from ovbench.models.weights.checkpoints import locate
from ovbench.support.drawing_code import drawing_code
from ovbench.support.making import make_missing
from ovbench.support.recipe import Recipe
from ovbench.support.shelf import HOME, Shelf
from ovbench.support.stored import stored_sets

FORMAT = 1
"""Of what is kept; raised when the same recipe gives other pictures or other files."""

ROLE = "stable_diffusion"


@dataclass(frozen=True, slots=True, eq=False)
class SupportSet:
    """The pictures of one class.

    They are read at every access and not kept: those of a large vocabulary are gigabytes.

    Attributes:
        name: the class, as prompted.
        count: how many pictures.
        digest: SHA-256, as hex, of the recipe, the class, the weights and every picture's and
            attribution's bytes: what is computed from the set can be remembered under it.
    """

    name: str
    count: int
    digest: str
    _shelf: Shelf = field(repr=False)

    @property
    def images(self) -> npt.NDArray[np.uint8]:
        """``(N, H, W, 3)`` uint8 RGB."""
        return np.stack([self._shelf.read(index).image for index in range(self.count)])

    @property
    def attribution(self) -> npt.NDArray[np.float32]:
        """``(N, h, w)`` float32 on the grid of the latents, raw, not negative."""
        return np.stack([self._shelf.read(index).attribution for index in range(self.count)])


class SupportSets:
    """Makes the support sets of a recipe when they are first asked for.

    They are kept on disk and shared by methods and processes: see :mod:`ovbench.support.shelf`.

    Attributes:
        recipe: of every picture.
        checkpoints: of the Stable Diffusion that makes them.
    """

    def __init__(self, recipe: Recipe, runtime: Runtime) -> None:
        """Find the weights; nothing is loaded.

        Raises:
            UsageError: weights that cannot be had; says how to fetch them.
        """
        self.recipe, self._runtime = recipe, runtime
        self.checkpoints: tuple[CheckpointRecord, ...] = locate(ROLE, recipe.model, runtime).records

    def make(self, names: Sequence[str], count: int) -> list[SupportSet]:
        """The support sets of some classes; what is missing or damaged is made.

        Only then is Stable Diffusion loaded, and only for that long.

        Args:
            names: of the classes, as they stand in the prompt.
            count: pictures per class, at least 1.

        Raises:
            UsageError: a name too long for the text encoder, or a cache that is full or cannot
                be written to.
        """
        shelves = {name: self._shelf(name) for name in names}
        whole = {name: shelf.whole(count) for name, shelf in shelves.items()}
        lacking = {name: count - len(found) for name, found in whole.items() if len(found) < count}
        if lacking:
            _tell_of_other_code([shelves[name] for name in lacking])
            incomplete = {name: shelves[name] for name in lacking}
            whole |= make_missing(self.recipe, self._runtime, count, incomplete, lacking)
        return [self._set(name, shelves[name], whole[name], count) for name in names]

    def _shelf(self, name: str) -> Shelf:
        key = self._key(name)
        return Shelf(cache_home() / HOME / digest_of_key(key), key)

    def _key(self, name: str) -> dict[str, Any]:
        recipe = self.recipe
        return {
            "format": FORMAT,
            "name": name,
            "prompt": recipe.text(name),
            "negative": recipe.negative,
            "sampling": asdict(recipe.sampling),
            "rule": asdict(recipe.rule),
            "seed": recipe.seed,
            "noise": recipe.noise,
            "weights": [asdict(record) for record in self.checkpoints],
            "precision": self._runtime.precision,
            "code": drawing_code(),
        }

    @staticmethod
    def _set(name: str, shelf: Shelf, digests: Mapping[int, str], count: int) -> SupportSet:
        content = {"key": shelf.key, "pictures": [digests[index] for index in range(count)]}
        return SupportSet(name, count, digest_of_key(content), shelf)


def _tell_of_other_code(shelves: Sequence[Shelf]) -> None:
    """Say how many of some classes are there as other code drew them."""
    old = {_without_code(one.key) for one in stored_sets() if not one.is_of_this_code}
    found = sum(_without_code(s.key) in old for s in shelves if not s.folder.exists())
    if found:
        say(
            f"{found} of {len(shelves)} classes have support pictures that other code drew; they "
            "are made again, and `ovbench support list` names the old ones"
        )


def _without_code(key: Mapping[str, Any]) -> str:
    return digest_of_key({name: value for name, value in key.items() if name != "code"})
