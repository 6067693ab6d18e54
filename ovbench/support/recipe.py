"""What decides how a support picture looks."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ovbench.errors import UsageError
from ovbench.models.diffusion.sampling import Sampling

if TYPE_CHECKING:  # what is kept can be listed without torch
    from ovbench.models.diffusion.attention import AttributionRule


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything but the class that decides what a support picture is.

    A method that is built on support pictures has a static method ``recipe(settings, seed)``,
    by which ``ovbench support show --method`` finds its pictures.

    Attributes:
        model: a Stable Diffusion, by its name in the catalogue or its hub id.
        prompt: with one ``{}`` where the class's name stands, such as
            ``"A good picture of a {}"``.
        negative: what no picture shall show; may be empty.
        sampling: how the pictures are sampled.
        rule: how attention becomes attribution.
        seed: with the class's name and the picture's index it seeds the picture.
        noise: what a picture begins with. ``own`` is nobody else's; ``shared`` is drawn from the
            seed alone, one picture after the other and from its start for every class, so that
            pictures of one index begin alike.
    """

    model: str
    prompt: str
    negative: str
    sampling: Sampling
    rule: AttributionRule
    seed: int
    noise: Literal["own", "shared"] = "own"

    def __post_init__(self) -> None:
        if self.prompt.count("{}") != 1:
            raise UsageError(f"the prompt {self.prompt!r} needs one {{}}, where the name stands")

    def text(self, name: str) -> str:
        """The prompt for a class."""
        return self.prompt.replace("{}", name)

    def noise_of(self, name: str, index: int) -> tuple[int, int]:
        """The seed of one picture, and how many pictures' noise is drawn from it before.

        A seed of its own has 63 bits, so that no two pictures of any class share theirs.
        """
        if self.noise == "shared":
            return self.seed, index
        text = json.dumps([self.seed, name, index])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1, 0


def common_recipe(seed: int) -> Recipe:
    """Where to begin without a method: Stable Diffusion as it comes, with DAAM."""
    from ovbench.models.diffusion.attention import DAAM

    return Recipe("stable_diffusion_v1_5", "a photo of a {}", "", Sampling(), DAAM, seed)
