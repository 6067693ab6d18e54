"""Which collection the settings name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from ovbench.adapters.freeda.collection import (
    Collection,
    PublishedIndex,
    RandomVectors,
    Squares,
    Supports,
)
from ovbench.adapters.freeda.folder import PictureFolder
from ovbench.adapters.freeda.settings import COLLECTIONS, FreeDASettings
from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.files.home import at_home
from ovbench.models.patches.encoder import PatchEncoder
from ovbench.models.weights.checkpoints import locate

_PUBLISHED = 350


def load_collection(
    settings: FreeDASettings,
    encoder: PatchEncoder,
    squares: Squares,
    embed: Callable[[Sequence[str]], Tensor],
    runtime: Runtime,
) -> Collection:
    """The collection that the settings name.

    Args:
        embed: from words to their embeddings ``(n, d)`` by CLIP.

    Raises:
        UsageError: weights or files that cannot be had, or are not what they should be.
    """
    if settings.collection == "random":
        return RandomVectors(encoder, runtime.seed)
    if settings.collection == "supports":
        return Supports(settings, encoder, squares, runtime)
    if settings.collection == "folder":
        if settings.folder is None:
            raise UsageError("collection=folder needs --set folder=FOLDER, with a folder a word")
        folder = at_home(settings.folder)
        return PictureFolder(folder, settings, encoder, squares, embed, runtime)
    neighbours = settings.neighbours or _PUBLISHED
    if settings.index is None:
        role, _, name = COLLECTIONS["index"].partition("/")
        located = locate(role, name, runtime)
        return PublishedIndex(located.path.parents[1], neighbours, encoder)
    return PublishedIndex(at_home(settings.index), neighbours, encoder)
