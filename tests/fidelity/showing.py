"""Objects of rendered scenes as prompts."""

from __future__ import annotations

from ovbench.harness.contract.vocabulary import Background, ClassQuery, Exemplar, Vocabulary
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.world import NAMES


def shown(seed: int, label: int) -> Exemplar:
    """A scene with the pixels of one of its classes."""
    scene = render_scene(seed)
    return Exemplar(scene.image, scene.label == label)


def vocabulary_of(label: int, *exemplars: Exemplar) -> Vocabulary:
    """One class and background."""
    return Vocabulary((ClassQuery(NAMES[label], exemplars=exemplars),), Background())
