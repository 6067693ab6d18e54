"""``ovbench weights`` by the command line, against servers on this machine."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from in_process import ovbench
from weight_servers import Hub, HubHandler, Page, PageHandler, serving, serving_by

from ovbench.cli.app import app
from ovbench.cli.catalogue.rows import row_of
from ovbench.errors import UsageError
from ovbench.harness.files.download import Download
from ovbench.harness.registry.glance import card_of
from ovbench.harness.registry.methods import load_method
from ovbench.harness.registry.names import METHODS
from ovbench.models.weights import catalogue
from ovbench.models.weights.catalogue import OfficialFile, size_in_words
from ovbench.models.weights.inventory import item_of

BODY = random.Random(0).randbytes(3_000_000)
NAME = "groupvit_gcc_yfcc_30e"
FETCH = ("weights", "fetch", "groupvit", "--set", f"weights={NAME}")
NOBODY = "http://127.0.0.1:9"
WITH_CARDS = [name for name in METHODS.entries if (card := card_of(name)) and card.weights]

Publish = Callable[..., OfficialFile]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of official files, and an empty cache of a hub where nobody listens."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", NOBODY)
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Let one checkpoint's file be elsewhere."""

    def put(url: str, sha256: str | None = None, *, by_hand: bool = False) -> OfficialFile:
        file = OfficialFile(url, "weights.pth", sha256, by_hand)
        entries = [
            replace(entry, source=file, size=223_000_000) if entry.name == NAME else entry
            for entry in catalogue.ENTRIES
        ]
        monkeypatch.setattr(catalogue, "ENTRIES", entries)
        return file

    return put


def state(name: str = NAME) -> dict[str, Any]:
    rows = json.loads(ovbench("weights", "list", "groupvit", "--json").stdout)["weights"]
    return next(row for row in rows if row["settings"].get("weights") == name)


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The error, of a command that says nothing else but what it is about to fetch."""
    assert done.returncode == 2
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert done.stderr.count("error: ") == 1
    assert last.startswith("error: ")
    return last


def test_a_file_is_fetched_once_and_its_place_told(publish: Publish, home: Path) -> None:
    page = Page(BODY)
    with serving(PageHandler, page) as address:
        publish(f"{address}/weights.pth")
        assert state()["state"] == "missing"
        done = ovbench(*FETCH)
        assert (done.returncode, done.stdout) == (0, f"groupvit/{NAME}: {home}/weights.pth\n")
        assert f"groupvit/{NAME}: 223.0 MB, none stated" in done.stderr
        assert "weights.pth, MiB: 3 to do" in done.stderr
        assert (state()["state"], state()["bytes"]) == ("there", len(BODY))
        again = ovbench(*FETCH)
        assert (again.stdout, again.stderr) == (done.stdout, "")
    assert page.starts == [0]
    assert (home / "weights.pth").read_bytes() == BODY


def test_pythons_own_server_which_cannot_begin_in_the_middle(
    publish: Publish, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "weights.pth").write_bytes(BODY)
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    handler: Any = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "site"))
    with serving_by(handler) as address:
        publish(f"{address}/weights.pth")
        home.mkdir(parents=True)
        (home / "weights.pth.part").write_bytes(BODY[:1000])
        assert ovbench(*FETCH).returncode == 0
    assert (home / "weights.pth").read_bytes() == BODY


def test_an_answer_that_breaks_off_is_continued_by_the_same_command(
    publish: Publish, home: Path
) -> None:
    page = Page(BODY, breaks_after=2_000_000)
    with serving(PageHandler, page) as address:
        publish(f"{address}/weights.pth")
        assert "broke off after 2000000 of 3000000 bytes" in one_line(ovbench(*FETCH))
        assert state()["state"] == "missing"
        assert ovbench(*FETCH).returncode == 0
    assert page.starts == [0, 2_000_000]
    assert (home / "weights.pth").read_bytes() == BODY


KILLED = """
import sys
from dataclasses import replace
from ovbench.models.weights import catalogue
from ovbench.models.weights.catalogue import OfficialFile
name, url, *arguments = sys.argv[1:]
source = OfficialFile(url, "weights.pth", None)
catalogue.ENTRIES = [
    replace(e, source=source) if e.name == name else e for e in catalogue.ENTRIES
]
from ovbench.cli import main
sys.argv = ["ovbench", *arguments]
main()
"""


def test_a_killed_download_is_continued_by_the_same_command(publish: Publish, home: Path) -> None:
    page = Page(BODY, breaks_after=1_500_000, stalls=True)
    part = home / "weights.pth.part"
    with serving(PageHandler, page) as address:
        url = f"{address}/weights.pth"
        command = [sys.executable, "-c", KILLED, NAME, url, *FETCH]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size >= 1_000_000):
            assert time.monotonic() < until
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        page.released.set()
        page.stalls, page.breaks_after = False, None
        kept = part.stat().st_size
        assert not (home / "weights.pth").exists()
        publish(url)
        assert ovbench(*FETCH).returncode == 0
    assert page.starts == [0, kept]
    assert (home / "weights.pth").read_bytes() == BODY
    assert not part.exists()


def test_a_download_with_another_digest_than_the_published_one_is_discarded(
    publish: Publish, home: Path
) -> None:
    with serving(PageHandler, Page(BODY[:-1] + b"!")) as address:
        publish(f"{address}/weights.pth", hashlib.sha256(BODY).hexdigest())
        assert "was discarded: its SHA-256 is" in one_line(ovbench(*FETCH))
    assert state()["state"] == "missing"
    assert not (home / "weights.pth.part").exists()


def test_another_file_than_the_one_found_first_differs(
    publish: Publish, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(PageHandler, Page(BODY)) as address:
        publish(f"{address}/weights.pth")
        ovbench(*FETCH)
        (home / "weights.pth").write_bytes(BODY[::-1])
        assert state()["state"] == "differs"
        monkeypatch.setenv("COLUMNS", "400")
        assert "weights.pth, which differs" in ovbench("list", "checkpoints").stdout
        assert "recorded at first use" in one_line(ovbench(*FETCH))
        assert (home / "weights.pth").read_bytes() == BODY[::-1]  # nobody's file is deleted


def test_an_address_that_is_gone(publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PageHandler, "do_GET", lambda self: self.reply(404, b"", {}, 0))
    with serving(PageHandler, Page(BODY)) as address:
        publish(f"{address}/weights.pth")
        assert "HTTP Error 404" in one_line(ovbench(*FETCH))


def test_no_network_names_file_size_address_and_place(publish: Publish, home: Path) -> None:
    file = publish(f"{NOBODY}/weights.pth")
    line = one_line(ovbench(*FETCH))
    for word in (file.name, "(223.0 MB)", file.url, str(home / file.name)):
        assert word in line


def test_what_only_a_person_can_fetch(publish: Publish, home: Path) -> None:
    publish("https://drive.example/folder", by_hand=True)
    for word in ("weights.pth", "(223.0 MB)", "https://drive.example/folder", str(home)):
        assert word in one_line(ovbench(*FETCH))
    assert state()["by_hand"] is True
    listed = ovbench("weights", "list", "groupvit").stdout
    assert "by hand, weights.pth of https://drive.example/folder; missing in" in listed
    home.mkdir(parents=True)
    (home / "weights.pth").write_bytes(BODY)
    assert ovbench(*FETCH).returncode == 0
    (home / "weights.pth").write_bytes(b"another")
    assert "the next run says where it is" in one_line(ovbench(*FETCH))


def test_all_that_can_be_had_is_fetched_before_what_is_missing_is_told(
    publish: Publish, home: Path
) -> None:
    """TCL needs a CLIP of the hub, where nobody listens, and its own file."""
    with serving(PageHandler, Page(BODY)) as address:
        entries = [
            replace(e, source=OfficialFile(f"{address}/tcl.pth", "tcl.pth", None))
            if e.role == "tcl"
            else e
            for e in catalogue.ENTRIES
        ]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(catalogue, "ENTRIES", entries)
            done = ovbench("weights", "fetch", "tcl")
    assert done.returncode == 2
    assert done.stdout == f"tcl/tcl_vitb16: {home / 'tcl.pth'}\n"
    assert "error: weights timm/vit_base_patch16_clip_224.openai (open_clip_model" in done.stderr


def test_a_repository_is_fetched_by_the_hubs_own_client(tmp_path: Path) -> None:
    files = {"config.json": b"{}", "model.safetensors": b"weights"}
    hub = Hub({"BAAI/seggpt-vit-large": {**files, "README.md": b""}})
    with serving(HubHandler, hub) as address:
        homes = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": address, "HF_HUB_DISABLE_XET": "1"}
        command = [sys.executable, "-m", "ovbench", "weights", "fetch", "seggpt"]
        done = subprocess.run(
            command, env={**os.environ, **homes}, capture_output=True, text=True, check=True
        )
    assert done.stdout.startswith("seggpt/seggpt_vit_large: ")
    folder = Path(done.stdout.strip().partition(": ")[2])
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == files


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["fetch"], "Missing argument 'METHOD'"),
        (["fetch", "grupvit"], "no method 'grupvit'; did you mean 'groupvit'?"),
        (["list", "grupvit"], "no method 'grupvit'; did you mean 'groupvit'?"),
        (["fetch", "groupvit", "--set", "weights"], "--set weights: write it as name=value"),
        (["fetch", "groupvit", "--set", "weight=a"], "no setting 'weight' that chooses weights"),
        (["fetch", "constant", "--set", "a=b"], "no setting 'a' that chooses weights; there are"),
        (["fetch", "groupvit", "--set", "weights=a"], "no groupvit checkpoint 'a'; there are"),
        (["fetch", "pnp_ovss", "--set", "vlm=blip"], "vlm='blip' names no weights; there are: bl"),
        (["fetch", "sclip", "--set", "pretrained=openal"], "did you mean 'openai'?"),
        (["fetch", "sclip", "--set", "architecture=ViT-B-61"], "did you mean 'ViT-B-16'?"),
        (["fetch", "sclip", "--json"], "No such option"),
    ],
)
def test_wrong_words_are_one_line(arguments: list[str], fault: str) -> None:
    done = ovbench("weights", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert fault in line


@pytest.mark.parametrize(
    ("method", "asked", "loaded"),
    [
        ("groupvit", {}, ["groupvit/groupvit_gcc_yfcc"]),
        ("groupvit", {"weights": "random"}, []),
        ("groupvit", {"weights": "a/b@v1"}, ["groupvit/a/b@v1"]),
        ("tcl", {"pretrained": "openai@v2"}, ["tcl/tcl_vitb16", "clip/ViT-B-16 openai@v2"]),
        ("proxyclip", {"vfm": "sam_vit_b"}, ["clip/ViT-B-16 openai", "sam/sam_vit_b"]),
        ("clip_dinoiser", {"guide": "teacher"},
         ["clip/ViT-B-16 laion2b_s34b_b88k", "dino/dino_vitb16", "saliency/found_dino_vits8",
          "dino/dino_vits8"]),
        ("corrclip", {"regions": "panoptic"},
         ["clip/ViT-B-16-quickgelu metaclip_fullcc", "dino/dino_vitb8",
          "panoptic/mask2former_swin_large_coco_panoptic"]),
        ("corrclip", {"regions": "cuts", "cuts_of": "dino_vits8"},
         ["clip/ViT-B-16-quickgelu metaclip_fullcc", "dino/dino_vitb8", "dino/dino_vits8"]),
        ("pnp_ovss", {"vlm": "bridgetower"}, ["bridgetower/bridgetower_large_itm"]),
        ("matcher", {"saliency": "found_dino_vits8"},
         ["dinov2/dinov2_large", "sam/sam_vit_h", "saliency/found_dino_vits8", "dino/dino_vits8"]),
        # The other of two settings still chooses it.
        ("ovdiff", {"generator": "stable_diffusion_v1_4"},
         ["stable_diffusion/stable_diffusion_v1_5", "dino/dino_vitb8", "clip/ViT-B-16 openai",
          "stable_diffusion/stable_diffusion_v1_4"]),
        ("clip_diy", {"architecture": "ViT-B-16", "pretrained": "openai"},
         ["dino/dino_vits8", "saliency/found_dino_vits8", "clip/ViT-B-16 openai"]),
    ],
)  # fmt: skip
def test_a_choice_takes_the_place_of_the_default(
    method: str, asked: dict[str, str], loaded: list[str]
) -> None:
    from ovbench.harness.registry.picking import picks_of
    from ovbench.models.weights.needs import chosen

    card = card_of(method)
    assert card is not None
    assert chosen(method, card.weights, picks_of(method), asked) == loaded


@pytest.mark.parametrize("method", WITH_CARDS)
def test_a_run_the_list_of_methods_and_the_list_of_weights_tell_the_same(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError) as caught:
        load_method(method, checkpoints="real", device="cpu")
    run = str(caught.value)
    listed = {
        row["checkpoint"]: row
        for row in json.loads(ovbench("weights", "list", method, "--json").stdout)["weights"]
        if row["default"]
    }
    card = card_of(method)
    assert card is not None
    assert {*card.weights} <= {*listed}
    told = []
    for weight in row_of(method).content()["weights"]:  # as `list methods` prints it
        row, item = listed[weight["name"]], item_of(weight["name"])
        assert item is not None
        for field in ("licence", "bytes", "state"):
            assert row[field] == weight[field] == getattr(item, field)
        place = (
            f"{row['into']}/{row['files']}" if row["source"].startswith("http") else row["files"]
        )
        told.append(all(w in run for w in (row["source"], place, size_in_words(row["bytes"]))))
    assert any(told), run
    assert "\n" not in run


def test_the_list_of_all_methods_names_what_each_loads_by_default() -> None:
    listed = json.loads(ovbench("weights", "list", "--json").stdout)
    assert [one["method"] for one in listed] == list(METHODS.entries)
    table = ovbench("weights", "list")
    assert table.returncode == 0
    for name in WITH_CARDS:
        assert name in table.stdout
    assert ovbench("weights", "list", "constant").stdout == "constant loads no weights\n"


def test_every_choice_of_a_setting_is_listed() -> None:
    rows = json.loads(ovbench("weights", "list", "proxyclip", "--json").stdout)["weights"]
    chosen = {row["settings"]["vfm"]: row["checkpoint"] for row in rows if "vfm" in row["settings"]}
    assert chosen["dinov3_vitb16"] == "dinov2/dinov3_vitb16"
    assert "dinov2_small" not in chosen
    pairs = [row["settings"] for row in rows if "pretrained" in row["settings"]]
    assert {"architecture": "ViT-L-14", "pretrained": "openai"} in pairs


@pytest.mark.parametrize(
    ("method", "clip"), [("tcl", "clip/ViT-B-16 "), ("lseg", "clip/ViT-B-32 ")]
)
def test_only_clips_that_a_network_was_trained_with_are_listed(method: str, clip: str) -> None:
    rows = json.loads(ovbench("weights", "list", method, "--json").stdout)["weights"]
    clips = [row["checkpoint"] for row in rows if row["checkpoint"].startswith("clip/")]
    assert clips
    assert all(name.startswith(clip) for name in clips)


def test_what_is_loaded_beside_a_checkpoint_is_listed_with_it() -> None:
    rows = json.loads(ovbench("weights", "list", "simseg", "--json").stdout)["weights"]
    beside = [row for row in rows if row["checkpoint"] == "tokenizer/bert_base_uncased"]
    assert {row["settings"]["weights"] for row in beside} == {"simseg_vitb", "simseg_vits"}
    saliency = json.loads(ovbench("weights", "list", "clip_diy", "--json").stdout)["weights"]
    assert [row["checkpoint"] for row in saliency].count("dino/dino_vits8") == 1


@pytest.mark.parametrize(
    "words",
    ["weights fetch ", "weights list ", "list methods ", "check ", "profile ", "run --method ",
     "tune --method ", "segment --method ", "support show cat --method "],
)  # fmt: skip
def test_a_shell_offers_methods(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_OVBENCH_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"ovbench {words}groupv")
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) + 1))
    with pytest.raises(SystemExit):
        app(prog_name="ovbench")
    assert capsys.readouterr().out.split() == ["groupvit"]


def test_a_folder_that_cannot_be_written_is_named(
    publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(f"{NOBODY}/weights.pth")
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))
    assert f"{tmp_path / 'file'}: is no folder" in one_line(ovbench(*FETCH))


def test_a_full_disk_is_not_the_networks_fault(
    publish: Publish, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(download: Download) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    publish(f"{NOBODY}/weights.pth")
    monkeypatch.setattr(Download, "fill", full)
    done = ovbench(*FETCH)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"error: {home}/weights.pth.part: cannot be written (No space left on device); make room "
        "there, and the same command goes on"
    )
