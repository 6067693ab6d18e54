"""Resolving weights: from the cache, by download, and the one line when there are none."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest

from ovbench.errors import UsageError
from ovbench.models import checkpoints
from ovbench.models.checkpoints import from_hub, packaged, sha256_of

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAMES = ("model.safetensors", "model.bin")
Cache = Callable[[str, str], Path]


def test_digest_is_of_the_content(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"abc" * 1_000_000)
    assert sha256_of(file) == hashlib.sha256(b"abc" * 1_000_000).hexdigest()


def test_a_cached_file_records_commit_and_digest(hub_cache: Cache) -> None:
    path = hub_cache("owner/name", "model.bin")
    path.write_bytes(b"weights")
    found = from_hub("clip", "owner/name", NAMES)
    assert found.path == path
    assert found.record.role == "clip"
    assert found.record.name == "owner/name"
    assert found.record.revision == COMMIT
    assert found.record.sha256 == hashlib.sha256(b"weights").hexdigest()


def test_safetensors_come_first(hub_cache: Cache) -> None:
    hub_cache("owner/name", "model.bin")
    preferred = hub_cache("owner/name", "model.safetensors")
    assert from_hub("clip", "owner/name", NAMES).path == preferred


def test_a_pin_is_a_commit_or_a_branch(hub_cache: Cache) -> None:
    path = hub_cache("owner/name", "model.bin")
    assert from_hub("clip", f"owner/name@{COMMIT}", NAMES).path == path
    assert from_hub("clip", "owner/name@main", NAMES).path == path
    with pytest.raises(UsageError, match="--revision other"):
        from_hub("clip", "owner/name@other", NAMES)


def test_missing_weights_are_one_line_that_mends(hub_cache: Cache) -> None:
    with pytest.raises(UsageError) as caught:
        from_hub("clip", "owner/name", NAMES)
    message = str(caught.value)
    assert "hf download owner/name model.safetensors" in message
    assert "model.bin" in message
    assert "HF_HOME" in message
    assert "\n" not in message
    assert caught.value.exit_code == 2


def hub_with(*existing: str) -> Callable[..., SimpleNamespace]:
    siblings = [SimpleNamespace(rfilename=name) for name in existing]
    return lambda *_, **__: SimpleNamespace(siblings=siblings)


def test_downloads_what_the_repository_has(
    hub_cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(repository: str, name: str, revision: str | None) -> str:
        return str(hub_cache(repository, name))

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", hub_with("README.md", "model.bin"))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    found = from_hub("clip", "owner/name", NAMES)
    assert (found.path.name, found.record.revision) == ("model.bin", COMMIT)


def test_a_repository_without_the_file_says_so(
    hub_cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", hub_with("README.md"))
    with pytest.raises(UsageError, match="no such file"):
        from_hub("clip", "owner/name", NAMES)


def test_packaged_weights_lie_in_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages: Callable[[str], Any] = lambda _: tmp_path  # noqa: E731
    monkeypatch.setattr(checkpoints, "files", packages)
    with pytest.raises(UsageError, match="no packaged weights for clip"):
        packaged("clip")
    folder = tmp_path / "toyworld" / "weights" / "clip"
    folder.mkdir(parents=True)
    (folder / "card.json").write_text("{}")
    (folder / "open_clip_model.safetensors").write_bytes(b"weights")
    found = packaged("clip")
    assert found.path == folder / "open_clip_model.safetensors"
    assert found.record.name == "toyworld/clip"
    assert found.record.revision is None
    assert found.record.sha256 == hashlib.sha256(b"weights").hexdigest()
