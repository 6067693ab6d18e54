"""Which code draws support pictures: others by other code."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

MODULES = (
    "ovbench.models.diffusion.model",
    "ovbench.models.diffusion.attention",
    "ovbench.models.diffusion.features",
    "ovbench.models.diffusion.folder",
    "ovbench.models.diffusion.prompts",
    "ovbench.models.diffusion.sampling",
    "ovbench.support.making",
    "ovbench.support.recipe",
)
"""All that stands between a recipe and its pictures, but for libraries."""


@cache
def drawing_code() -> str:
    """SHA-256 of the source of :data:`MODULES`, as hex; none of them is imported for it."""
    digest = hashlib.sha256()
    for name in MODULES:
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        digest.update(hashlib.sha256(Path(spec.origin).read_bytes()).digest())
    return digest.hexdigest()
