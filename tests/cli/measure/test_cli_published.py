"""``--preset published``: the settings and the names of the benchmark at hand."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from in_process import ovbench
from PIL import Image

from ovbench import Runtime, evaluate, load_dataset, load_method
from ovbench.cli.app import app
from ovbench.errors import UsageError
from ovbench.harness.files.images import write_label
from ovbench.harness.profile.timing import Job, figures
from ovbench.harness.registry.names import METHODS, Entry
from ovbench.leaderboards.formats.export import conditions


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The methods of published_method.py."""
    for name, attribute in {"dense": "Dense", "steady": "Steady"}.items():
        entry = Entry(f"published_method:{attribute}", package="published-method")
        monkeypatch.setitem(METHODS.entries, name, entry)  # type: ignore[misc]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """VOC with two pictures."""
    home = tmp_path / "data" / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (home / folder).mkdir(parents=True)
    for number, name in enumerate(("a", "b")):
        pixels = np.full((6, 8, 3), 40 * number, dtype=np.uint8)
        Image.fromarray(pixels).save(home / "JPEGImages" / f"{name}.jpg")
        label = np.tile(np.array([0, 0, 1, number], dtype=np.uint8), (6, 2))
        write_label(home / "SegmentationClass" / f"{name}.png", label)
    for split in ("train", "val"):
        (home / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("a\nb\n")
    return tmp_path / "data"


def run(root: Path, output: Path, *words: str, dataset: str = "voc") -> dict[str, Any]:
    done = asked(root, output, *words, dataset=dataset)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def asked(
    root: Path, output: Path, *words: str, method: str = "dense", dataset: str = "voc"
) -> subprocess.CompletedProcess[str]:
    return ovbench("run", "--method", method, "--dataset", dataset, "--root", root,
                   "--device", "cpu", "--json", "-o", output, *words)  # fmt: skip


def refused(*words: str | Path) -> str:
    done = ovbench(*words)
    assert done.returncode == 2, done.stderr
    lines = done.stderr.strip().splitlines()
    assert lines[-1].startswith("error: ")
    assert "Traceback" not in done.stderr
    return lines[-1]


PUBLISHED = ("--preset", "published")


def test_each_benchmark_has_its_own_values_and_names(root: Path, tmp_path: Path) -> None:
    whole = run(root, tmp_path / "voc21", *PUBLISHED)
    assert whole["run"]["preset"] == "published"
    assert whole["run"]["changes"] == {}
    assert whole["config"] == {"short_side": 336, "logit_scale": 65.0, "threshold": 0.1}
    assert whole["vocabulary"]["source"] == "voc/sclip"
    assert len(whole["vocabulary"]["queries"]["background"]) > 1
    assert whole["published"] == {
        "dataset": "voc", "background": "class", "names": "sclip",
        "source": "released code, configs", "varying": ["logit_scale", "threshold"],
    }  # fmt: skip

    classes = run(root, tmp_path / "voc20", *PUBLISHED, dataset="voc20")
    assert classes["config"] == {"short_side": 336, "logit_scale": 40.0, "threshold": 0.0}
    assert classes["vocabulary"]["source"] == "voc/ovdiff"
    assert classes["run"]["id"] != whole["run"]["id"]


def test_a_run_goes_on_and_is_asked_again(root: Path, tmp_path: Path) -> None:
    first = run(root, tmp_path / "run", *PUBLISHED, "--limit", "2")
    again = asked(root, tmp_path / "run", *PUBLISHED, "--limit", "2")
    assert json.loads(again.stdout) == first
    assert "all 2 images were measured before" in again.stderr

    other = refused("run", "--method", "dense", "--dataset", "voc20", "--root", root, "--device",
                    "cpu", *PUBLISHED, "-o", tmp_path / "run")  # fmt: skip
    assert "settings.logit_scale" in other


def test_a_user_s_names_and_settings_stay(root: Path, tmp_path: Path) -> None:
    found = run(root, tmp_path / "run", *PUBLISHED, "--names", "plain", "--set", "threshold=0.3")
    assert found["vocabulary"]["source"] == "voc/plain"
    assert found["config"]["threshold"] == 0.3
    assert found["run"]["changes"] == {"threshold": 0.3}
    # Nobody tuned for the benchmark what the user gave.
    assert found["published"]["varying"] == ["logit_scale"]


def test_tables_say_what_is_tuned_per_benchmark(root: Path, tmp_path: Path) -> None:
    result = run(root, tmp_path / "runs" / "published", *PUBLISHED)
    run(root, tmp_path / "runs" / "default", "--names", "sclip")
    words = "--names", "sclip", *PUBLISHED
    steady = asked(root, tmp_path / "runs" / "steady", *words, method="steady")
    assert json.loads(steady.stdout)["published"]["varying"] == []
    told = "tuned per benchmark, as published: logit_scale, threshold vary"
    assert told in conditions(result)["marks"]  # what trackers are sent
    for style in ("markdown", "html", "latex", "csv", "json"):
        table = ovbench("leaderboard", tmp_path / "runs", "--format", style).stdout
        assert table.replace(r"\_", "_").count(told) == 1, style
    ovbench("report", tmp_path / "runs" / "published", "--root", root, "-o", tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert told in page
    assert "released code, configs" in page


def test_several_runs_take_each_their_own(root: Path, tmp_path: Path) -> None:
    both = {"method": "dense,steady", "dataset": "voc,voc20"}
    done = asked(root, tmp_path / "runs", *PUBLISHED, **both)
    assert done.returncode == 0, done.stderr
    found = [
        (r["vocabulary"]["source"], r["config"]["short_side"]) for r in json.loads(done.stdout)
    ]
    assert found == [
        ("voc/sclip", 336),
        ("voc/ovdiff", 336),
        ("voc/plain", 448),
        ("voc/plain", 448),
    ]


def test_a_benchmark_without_a_row_is_one_line(root: Path, tmp_path: Path) -> None:
    told = refused("run", "-m", "steady,dense", "-d", "toyworld", *PUBLISHED, "-o", tmp_path / "r")
    assert told == (
        "error: steady has no published settings for toyworld (background class); it has them "
        "for: voc (background class), context (background class), cocoobject (background class), "
        "voc (background ignore), context (background ignore), cocostuff, ade20k, cityscapes; "
        "--set name=value gives them one by one"
    )
    # Nothing of the first is measured before the last is known to be wrong.
    refused("run", "-m", "random,dense", "-d", "toyworld", "--set", "threshold=much", "-o",
            tmp_path / "r")  # fmt: skip
    assert not (tmp_path / "r").exists()


def test_a_user_s_own_pictures_have_none(root: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    for folder in ("images", "masks"):
        (own / folder).mkdir(parents=True)
    Image.fromarray(np.zeros((4, 4, 3), dtype=np.uint8)).save(own / "images" / "a.png")
    write_label(own / "masks" / "a.png", np.zeros((4, 4), dtype=np.uint8))
    (own / "classes.txt").write_text("cat\ndog\n")
    told = refused("run", "-m", "dense", "-d", "folder", "--root", own, *PUBLISHED)
    assert "no published settings for folder, which is nobody's benchmark; it has them for" in told
    assert told.endswith("--set name=value gives them one by one")

    picture = own / "images" / "a.png"
    for command in (["segment", picture, "-m", "dense", "--names", "cat"], ["check", "dense"]):
        told = refused(*command, *PUBLISHED)
        assert "takes the values of a benchmark, and there is none here; --set" in told


@pytest.mark.parametrize(
    "command", [["run", "-m", "random", "-d", "voc"], ["tune", "-m", "pnp_ovss", "-d", "voc"]]
)
def test_a_method_without_rows_has_no_such_preset(command: list[str], root: Path) -> None:
    assert "has no preset 'published'; it has: " in refused(*command, "--root", root, *PUBLISHED)


def test_tuning_begins_with_the_row_and_says_its_names(root: Path, tmp_path: Path) -> None:
    done = ovbench("tune", "-m", "dense", "-d", "voc", "--root", root, *PUBLISHED, "--device",
                   "cpu", "-o", tmp_path / "tuned")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "--names sclip" in done.stdout
    kept = json.loads((tmp_path / "tuned" / "settings.json").read_text())
    assert kept["settings"] == {"short_side": 336, "logit_scale": 60.0, "threshold": 0.1}
    assert kept["tuning"]["vocabulary"] == "voc/sclip"


def test_profile_refuses_methods_of_different_names(root: Path) -> None:
    told = refused("profile", "dense", "steady", "-d", "voc", "--root", root, *PUBLISHED)
    assert "published with other class names: sclip (dense), plain (steady); choose" in told


def test_profile_measures_with_the_row(root: Path) -> None:
    data = load_dataset("voc", root=root, names_of=["dense"])
    samples = [data.load(0)]
    job = Job("dense", "published", {"threshold": 0.3}, Runtime(), data.vocabulary, samples,
              data.info, None, 1, 0, 1)  # fmt: skip
    settings = figures(job)["settings"]
    assert settings == {"short_side": 336, "logit_scale": 65.0, "threshold": 0.3}


def test_from_python(root: Path) -> None:
    data = load_dataset("voc", root=root, names_of=["dense"])
    method = load_method("dense", preset="published", benchmark=data.info, device="cpu")
    found = evaluate(method, data)
    assert found is not None
    assert found["vocabulary"]["source"] == "voc/sclip"
    assert found["config"]["logit_scale"] == 65.0
    with pytest.raises(
        UsageError, match=r"are those published for voc \(background class\), not for"
    ):
        evaluate(method, load_dataset("voc20", root=root))
    with pytest.raises(UsageError, match="there is none here"):
        load_method("dense", preset="published")


def test_the_table_is_listed() -> None:
    shown = ovbench("list", "methods", "dense").stdout
    assert "--preset published: logit_scale, threshold by benchmark" in shown
    assert "logit_scale=65.0" in shown
    assert (
        "--preset published: the same for all benchmarks"
        in ovbench("list", "methods", "steady").stdout
    )
    rows = json.loads(ovbench("list", "methods", "dense", "--json").stdout)
    assert rows["presets"] == {"soft": {"logit_scale": 1.0}}
    assert [(r["dataset"], r["background"]) for r in rows["published"]] == [
        ("voc", "class"), ("voc", "ignore"), ("cityscapes", "none"),
    ]  # fmt: skip
    everything = {
        one["name"]: one for one in json.loads(ovbench("list", "methods", "--json").stdout)
    }
    assert everything["dense"]["presets"] == ["soft", "published"]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("run --method dense --preset ", ["soft", "published"]),
        ("profile dense steady --preset p", ["published"]),
        ("check persam --preset ", ["released_code"]),
        ("run --preset publ", ["published"]),
    ],
)
def test_a_shell_offers_presets(
    words: str,
    offered: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = f"ovbench {words}"
    monkeypatch.setenv("_OVBENCH_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
    with pytest.raises(SystemExit):
        app(prog_name="ovbench")
    assert capsys.readouterr().out.split() == offered
