"""Tiny CLIPs with open_clip's own classes, and a Hugging Face cache to fill."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TEXT = {"width": 32, "heads": 2, "layers": 2, "context_length": 16}
VIT = {"width": 64, "head_width": 32, "layers": 3, "patch_size": 8, "image_size": 32}
TOWERS = {
    "tiny-vit": VIT,
    "tiny-resnet": {"width": 16, "layers": [1, 1, 1, 1], "image_size": 32},
    "tiny-convnext": {"timm_model_name": "test_convnext", "image_size": 64},
    # open_clip takes the tokenizer of a name with "siglip" from the hub.
    "tiny-map": {"timm_model_name": "tiny_siglip", "timm_pool": "map", "timm_proj": "none",
                    "image_size": 32},
    "tiny-pe": {"timm_model_name": "tiny_pe", "timm_pool": "map", "timm_proj": None,
                "image_size": 32},
    "tiny-coca-pool": {**VIT, "attentional_pool": True, "attn_pooler_heads": 2},
}  # fmt: skip


@pytest.fixture(scope="session")
def tiny_clips(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Register the tiny architectures with open_clip."""
    import open_clip
    import tiny_timm

    tiny_timm.register()
    folder = tmp_path_factory.mktemp("architectures")
    for name, tower in TOWERS.items():
        config = {"embed_dim": 32, "vision_cfg": tower, "text_cfg": TEXT}
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Put an empty file into a hub cache of its own: ``hub_cache("owner/name", "file")``."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    # Nobody listens there, whatever network the machine has.
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")

    def put(repository: str, name: str) -> Path:
        folder = tmp_path / f"models--{repository.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True, exist_ok=True)
        (folder / "refs" / "main").write_text(COMMIT)
        path = folder / "snapshots" / COMMIT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return path

    return put
