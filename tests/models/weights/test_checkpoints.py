"""Locating weights: in the package, in the hub's cache, on the hub; the one line otherwise."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import open_clip
import pytest
from weight_servers import COMMIT, Hub, HubHandler, serving

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.weights import packaged
from ovbench.models.weights.catalogue import LAYOUTS, Repository
from ovbench.models.weights.checkpoints import locate
from ovbench.models.weights.hub import cached
from ovbench.models.weights.packaged import instead_of
from ovbench.models.weights.untrained import seeded

REAL, TOY = Runtime(checkpoints="real"), Runtime(checkpoints="toy")
CLIP = "timm/vit_base_patch16_clip_224.openai"
BLIP = {
    "config.json": b"configuration",
    "preprocessor_config.json": b"mean and deviation",
    "tokenizer.json": b"words",
    "tokenizer_config.json": b"specials",
    "model.safetensors": b"weights",
}
DIFFUSION = {
    "model_index.json": b"{}",
    "scheduler/scheduler_config.json": b"{}",
    "text_encoder/config.json": b"{}",
    "unet/config.json": b"{}",
    "vae/config.json": b"{}",
    "tokenizer/vocab.json": b"{}",
    "tokenizer/merges.txt": b"",
    "text_encoder/model.safetensors": b"text",
    "vae/diffusion_pytorch_model.safetensors": b"vae",
    "unet/diffusion_pytorch_model.safetensors": b"unet",
}


class HubCache:
    """A Hugging Face cache in its exact layout."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def home(self, repository: str) -> Path:
        return self.root / f"models--{repository.replace('/', '--')}"

    def put(self, repository: str, name: str, body: bytes) -> Path:
        """A complete file: a blob named by its etag and the snapshot's link to it."""
        large = name.endswith((".safetensors", ".bin"))
        blob = self.blob(repository, hashlib.new("sha256" if large else "sha1", body).hexdigest())
        blob.write_bytes(body)
        link = self.home(repository) / "snapshots" / COMMIT / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
        return link

    def put_all(self, repository: str, files: dict[str, bytes]) -> Path:
        for name, body in files.items():
            self.put(repository, name, body)
        return self.home(repository) / "snapshots" / COMMIT

    def blob(self, repository: str, etag: str) -> Path:
        refs, blobs = (self.home(repository) / folder for folder in ("refs", "blobs"))
        for folder in (refs, blobs):
            folder.mkdir(parents=True, exist_ok=True)
        (refs / "main").write_text(COMMIT)
        return blobs / etag


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubCache:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    # Nobody listens there, whatever network the machine has.
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    return HubCache(tmp_path / "hub")


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def test_a_cached_folder_is_found_with_its_commit_and_digest(cache: HubCache) -> None:
    folder = cache.put_all("Salesforce/blip-itm-large-flickr", BLIP)
    located = locate("blip", "blip_flickr", REAL)
    assert located.path == folder
    record = CheckpointRecord(
        "blip", "Salesforce/blip-itm-large-flickr", COMMIT, sha256(b"weights")
    )
    assert located.records == (record,)


def test_a_blob_is_not_read_again_for_its_digest(cache: HubCache) -> None:
    file = cache.put(CLIP, "open_clip_pytorch_model.bin", b"weights")
    os.truncate(file, 0)
    (record,) = locate("clip", "ViT-B-16 openai", REAL).records
    assert record.sha256 == sha256(b"weights")


def test_without_links_and_large_file_storage_the_content_is_read(cache: HubCache) -> None:
    link = cache.put(CLIP, "open_clip_pytorch_model.bin", b"weights")
    link.unlink()
    link.write_bytes(b"a copy")
    (record,) = locate("clip", "ViT-B-16 openai", REAL).records
    assert record.sha256 == sha256(b"a copy")
    link.unlink()
    small = cache.blob(CLIP, hashlib.sha1(b"in git").hexdigest())
    small.write_bytes(b"in git")
    link.symlink_to(small)
    (record,) = locate("clip", "ViT-B-16 openai", REAL).records
    assert record.sha256 == sha256(b"in git")


def test_safetensors_come_first(cache: HubCache) -> None:
    cache.put(CLIP, "open_clip_pytorch_model.bin", b"pickle")
    preferred = cache.put(CLIP, "open_clip_model.safetensors", b"tensors")
    located = locate("clip", "ViT-B-16 openai", REAL)
    assert located.weights == (preferred,)
    assert located.records[0].sha256 == sha256(b"tensors")


@pytest.mark.parametrize("missing", [name for name in BLIP if name != "tokenizer_config.json"])
def test_a_folder_without_one_file_is_not_there(cache: HubCache, missing: str) -> None:
    cache.put_all("owner/name", {name: body for name, body in BLIP.items() if name != missing})
    with pytest.raises(UsageError, match="not in the Hugging Face cache"):
        locate("blip", "owner/name", REAL)


def test_an_interrupted_download_is_not_there(cache: HubCache) -> None:
    folder = cache.put_all("owner/name", BLIP)
    weights = folder / "model.safetensors"
    blob = weights.resolve()
    blob.rename(blob.with_name(f"{blob.name}.incomplete"))
    assert cached(Repository("owner/name", LAYOUTS["blip"])) is None
    weights.unlink()
    assert cached(Repository("owner/name", LAYOUTS["blip"])) is None


def test_every_part_of_stable_diffusion_has_its_record(cache: HubCache) -> None:
    name = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    cache.put_all(name, DIFFUSION)
    records = locate("stable_diffusion", "stable_diffusion_v1_5", REAL).records
    assert {record.name: record.sha256 for record in records} == {
        f"{name}/{part.partition('/')[0]}": sha256(body)
        for part, body in DIFFUSION.items()
        if part.endswith(".safetensors")
    }
    assert {record.revision for record in records} == {COMMIT}


def test_a_vocabulary_without_its_merges_is_no_tokenizer(cache: HubCache) -> None:
    folder = cache.put_all("owner/name", DIFFUSION)
    (folder / "tokenizer" / "merges.txt").unlink()
    with pytest.raises(UsageError, match=r"tokenizer/vocab\.json with tokenizer/merges\.txt or"):
        locate("stable_diffusion", "owner/name", REAL)
    cache.put("owner/name", "tokenizer/tokenizer.json", b"{}")
    assert locate("stable_diffusion", "owner/name", REAL).path == folder


def test_a_pin_is_a_commit_or_a_branch(cache: HubCache) -> None:
    folder = cache.put_all("owner/name", BLIP)
    (cache.home("owner/name") / "refs" / "refs" / "pr").mkdir(parents=True)
    (cache.home("owner/name") / "refs" / "refs" / "pr" / "4").write_text(COMMIT)
    for pin in (COMMIT, "main", "refs/pr/4"):
        located = locate("blip", f"owner/name@{pin}", REAL)
        assert located.path == folder
        assert located.records[0].name == "owner/name"
    with pytest.raises(UsageError, match="--revision other"):
        locate("blip", "owner/name@other", REAL)


def test_missing_weights_are_one_line_that_mends(cache: HubCache) -> None:
    with pytest.raises(UsageError) as caught:
        locate("bridgetower", "owner/name@v2", REAL)
    message = str(caught.value)
    command = (
        "`hf download owner/name config.json preprocessor_config.json tokenizer.json "
        "tokenizer_config.json model.safetensors --revision v2`"
    )
    assert command in message
    assert "model.safetensors or pytorch_model.bin" in message
    assert "HF_HOME" in message
    assert "\n" not in message
    assert caught.value.exit_code == 2


def test_the_command_names_the_format_that_a_repository_has(cache: HubCache) -> None:
    with pytest.raises(
        UsageError, match=r"hf download facebook/dino-vitb16 .* pytorch_model\.bin`"
    ):
        locate("dino", "dino_vitb16", REAL)
    with pytest.raises(UsageError, match=r"hf download facebook/dino-vitb8 .* model\.safetensors`"):
        locate("dino", "dino_vitb8", REAL)


LOCATE = (
    "import sys; from ovbench.models.weights.checkpoints import locate; "
    "from ovbench.harness.contract.runtime import Runtime; "
    "print(locate(*sys.argv[1:], Runtime()).path)"
)


def run_locate(home: Path, endpoint: str, *arguments: str, **environment: str) -> str:
    """Locate in a process of its own, which is told of hub and cache by its environment."""
    variables = {**os.environ, "HF_HOME": str(home), "HF_ENDPOINT": endpoint, **environment}
    variables |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-c", LOCATE, *arguments]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().rpartition("\n")[2]


def test_downloads_what_is_needed_and_nothing_else(tmp_path: Path) -> None:
    extra = {"pytorch_model.bin": b"pickle", "tf_model.h5": b"tensorflow", "README.md": b""}
    hub = Hub({"owner/name": {**BLIP, **extra}})
    with serving(HubHandler, hub) as address:
        path = Path(run_locate(tmp_path, address, "blip", "owner/name"))
    assert sorted(hub.fetched) == sorted(BLIP)
    assert hub.fetched[-1] == "model.safetensors"
    assert path == tmp_path / "hub" / "models--owner--name" / "snapshots" / COMMIT
    assert {file.name: file.read_bytes() for file in path.iterdir()} == BLIP
    # The client names blobs as `sha256_in_cache` takes for granted, and remembers "main".
    assert Path(os.readlink(path / "model.safetensors")).name == sha256(b"weights")
    assert (
        Path(os.readlink(path / "config.json")).name == hashlib.sha1(b"configuration").hexdigest()
    )
    again = run_locate(tmp_path, "http://127.0.0.1:9", "blip", "owner/name")
    assert Path(again) == path


def test_a_log_of_a_download_has_a_line_and_no_bars(tmp_path: Path) -> None:
    program = (
        f"from ovbench.cli.progress.working import work_shown\nwith work_shown(): exec({LOCATE!r})"
    )
    with serving(HubHandler, Hub({"owner/name": BLIP})) as address:
        variables = {**os.environ, "HF_HOME": str(tmp_path), "HF_ENDPOINT": address}
        variables = {k: v for k, v in variables.items() if k != "HF_HUB_DISABLE_PROGRESS_BARS"}
        command = [sys.executable, "-c", program, "blip", "owner/name"]
        done = subprocess.run(
            command, env={**variables, "HF_HUB_DISABLE_XET": "1"}, capture_output=True, check=True
        )
    told = [line for line in done.stderr.decode().splitlines() if "Warning" not in line]
    assert told == ["fetching owner/name from the Hugging Face hub"]


def test_what_is_missing_of_a_folder_is_fetched(tmp_path: Path) -> None:
    HubCache(tmp_path / "hub").put("owner/name", "model.safetensors", b"weights")
    hub = Hub({"owner/name": BLIP})
    with serving(HubHandler, hub) as address:
        path = Path(run_locate(tmp_path, address, "blip", "owner/name"))
    assert (path / "tokenizer.json").is_file()
    assert "model.safetensors" not in hub.fetched


def test_a_repository_of_another_kind_says_what_it_lacks(tmp_path: Path) -> None:
    with serving(HubHandler, Hub({"owner/name": {"config.json": b"{}"}})) as address:
        message = run_locate(tmp_path, address, "dino", "owner/name")
    assert "the repository has no model.safetensors or pytorch_model.bin" in message


def test_offline_mode_asks_nobody(tmp_path: Path) -> None:
    hub = Hub({"owner/name": BLIP})
    with serving(HubHandler, hub) as address:
        message = run_locate(tmp_path, address, "blip", "owner/name", HF_HUB_OFFLINE="1")
    assert message.startswith("ovbench.errors.UsageError: weights owner/name")
    assert "offline" in message.lower()
    assert not hub.fetched


def test_packaged_weights_lie_in_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packaged, "files", lambda _: tmp_path)
    with pytest.raises(UsageError, match="no packaged weights for stable_diffusion"):
        locate("stable_diffusion", "anything", TOY)
    folder = tmp_path / "toyworld" / "weights" / "stable_diffusion"
    for part in ("unet", "vae"):
        (folder / part).mkdir(parents=True)
        (folder / part / "model.safetensors").write_bytes(part.encode())
    (folder / "card.json").write_text(json.dumps({}))
    with pytest.raises(UsageError, match=r"no miniature of blip; .*--checkpoints real") as caught:
        locate("blip", "anything", TOY)
    assert "\n" not in str(caught.value)
    located = locate("stable_diffusion", "anything", TOY)
    assert located.path == folder
    assert located.records == tuple(
        CheckpointRecord(
            "stable_diffusion", f"toyworld/stable_diffusion/{part}", None, sha256(part.encode())
        )
        for part in ("unet", "vae")
    )


def test_transformers_finds_pickled_weights_in_a_snapshot(cache: HubCache, tmp_path: Path) -> None:
    import torch
    from transformers import ViTConfig, ViTModel

    sizes = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8}
    config = ViTConfig(num_hidden_layers=1, image_size=16, patch_size=8, **sizes)
    model = ViTModel(config)
    config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    for name in ("config.json", "pytorch_model.bin"):
        cache.put("facebook/dino-vits16", name, (tmp_path / name).read_bytes())
    loaded = ViTModel.from_pretrained(locate("dino", "dino_vits16", REAL).path)
    for key, weight in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], weight)


def test_a_miniature_is_advised_where_there_is_one() -> None:
    assert instead_of("clip") == ", or use --checkpoints toy"
    assert instead_of("segclip") == ""


def test_random_weights_that_were_asked_for_are_not_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    said = "No pretrained weights loaded for model"
    assert said in inspect.getsource(open_clip.factory)
    with seeded(REAL):
        logging.warning(f"{said} 'tiny'. Model initialized randomly.")
        logging.warning("another")
    logging.warning(f"{said} 'other'.")
    assert caplog.messages == ["another", f"{said} 'other'."]
