"""A tiny CLIP for adapters that take any architecture of open_clip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

VISION = {"width": 64, "head_width": 32, "layers": 2, "patch_size": 8, "image_size": 32}
TINY = {
    "embed_dim": 32,
    "vision_cfg": VISION,
    "text_cfg": {"width": 32, "heads": 2, "layers": 1, "context_length": 16},
}


@pytest.fixture(scope="session")
def tiny_architecture(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name under which open_clip knows a tiny vision transformer."""
    return known(TINY, tmp_path_factory.mktemp("architecture") / "tiny-adapter-vit.json")


@pytest.fixture(scope="session")
def deeper_architecture(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same with a third block, for what reads the last but one."""
    config = {**TINY, "vision_cfg": {**VISION, "layers": 3}}
    return known(config, tmp_path_factory.mktemp("architecture") / "deeper-adapter-vit.json")


def known(config: dict[str, Any], path: Path) -> str:
    import open_clip

    path.write_text(json.dumps(config))
    open_clip.add_model_config(path)
    return path.stem
