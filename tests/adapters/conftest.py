"""A tiny CLIP for adapters that take any architecture of open_clip."""

from __future__ import annotations

import json

import pytest

TINY = {
    "embed_dim": 32,
    "vision_cfg": {
        "width": 64,
        "head_width": 32,
        "layers": 2,
        "patch_size": 8,
        "image_size": 32,
    },
    "text_cfg": {"width": 32, "heads": 2, "layers": 1, "context_length": 16},
}


@pytest.fixture(scope="session")
def tiny_architecture(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name under which open_clip knows a tiny vision transformer."""
    import open_clip

    path = tmp_path_factory.mktemp("architecture") / "tiny-adapter-vit.json"
    path.write_text(json.dumps(TINY))
    open_clip.add_model_config(path)
    return path.stem
