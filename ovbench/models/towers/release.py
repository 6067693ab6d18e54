"""What differs between two towers of different authors, and how their files are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from safetensors.torch import load
from torch import Tensor

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.files.json_files import parse
from ovbench.harness.files.regular import regular
from ovbench.models.patches.positions import Positions
from ovbench.models.patches.timm_names import empty_vit, stock_names
from ovbench.models.towers.model import Towers, TowersNetwork
from ovbench.models.towers.words import Words, arbitrary_words, load_words, words_in
from ovbench.models.weights.authors import fitted, weights_in
from ovbench.models.weights.checkpoints import locate
from ovbench.models.weights.untrained import seeded, untrained


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Two towers as their authors released them.

    Attributes:
        role: in the catalogue.
        title: of the size that random weights have.
        tokenizer: in the catalogue.
        longest: tokens of a text.
        text: makes the text tower, at its authors' size or at sizes that are given.
        joint: channels of the joint space; None is the image tower's own, without a projection.
        parts: of every part of :class:`~ovbench.models.towers.model.TowersNetwork`, what its
            weights' names begin with.
        beside: weights that decide nothing after training, by the authors' names.
        pool, positions: see :class:`~ovbench.models.towers.model.Towers`.
    """

    role: str
    title: str
    tokenizer: str
    longest: int
    text: Callable[..., Any]
    joint: int | None
    parts: Mapping[str, str]
    beside: tuple[str, ...]
    pool: Literal["largest", "mean"]
    positions: Positions = "exact"

    def load(self, name: str, runtime: Runtime) -> Towers:
        """Load them.

        Args:
            name: in the catalogue, or ``"random"`` for seeded random weights of ViT-B/16 and
                any words, which serve to measure speed.

        Raises:
            UsageError: weights that cannot be had, or are not those of such a model.
        """
        if untrained(name, runtime):
            record = CheckpointRecord(self.role, f"{self.title}, random weights", None, None)
            with seeded(runtime):
                network = TowersNetwork(empty_vit(), self.text(), self.joint)
            words = arbitrary_words(network.text.config.vocab_size)
            return Towers(network, words, self.pool, (record,), runtime, self.positions)
        located = locate(self.role, name, runtime)
        if located.path.is_dir():
            network, words = self._of_folder(located.path)
            return Towers(network, words, self.pool, located.records, runtime, self.positions)
        image, rest = self.own_names(weights_in(located.path, "state_dict"))
        network = TowersNetwork(empty_vit(image), self.text(), self.joint)
        own = {f"image.{name}": weight for name, weight in stock_names(image).items()}
        fitted(network, {**own, **rest}, located.path)
        words = load_words(self.tokenizer, self.longest, runtime)
        return Towers(network, words, self.pool, located.records, runtime, self.positions)

    def _of_folder(self, folder: Path) -> tuple[TowersNetwork, Words]:
        """A miniature: ``config.json`` has the sizes of both towers and of the joint space."""
        from transformers import ViTConfig, ViTModel

        sizes = parse(regular(folder / "config.json").read_bytes())
        image = ViTModel(ViTConfig(**sizes["image"]), add_pooling_layer=False)
        network = TowersNetwork(image, self.text(**sizes["text"]), sizes["joint"])
        file = folder / "model.safetensors"
        fitted(network, load(regular(file).read_bytes()), file)
        return network, words_in(folder, self.longest)

    def own_names(
        self, weights: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The image tower's weights by timm's names, and the others by the network's.

        What has no place keeps its name, but for what several processes put before all of them.
        """
        found: dict[str, dict[str, Tensor]] = {part: {} for part in (*self.parts, "")}
        for theirs, weight in weights.items():
            name = theirs.removeprefix("module.")
            if name in self.beside:
                continue
            part = next((p for p, begin in self.parts.items() if name.startswith(begin)), "")
            found[part][name.removeprefix(self.parts.get(part, ""))] = weight
        image = found.pop("image")
        rest = {
            f"{part}.{name}" if part else name: weight
            for part, named in found.items()
            for name, weight in named.items()
        }
        return image, rest
