"""``ovbench site``, from the command line to the folder."""

from __future__ import annotations

from pathlib import Path

from in_process import ovbench


def test_a_site_of_runs_and_again(tmp_path: Path) -> None:
    words = (
        "run",
        "--method",
        "random",
        "--dataset",
        "toyworld",
        "--limit",
        "3",
        "--device",
        "cpu",
    )
    assert ovbench(*words, "-o", tmp_path / "runs" / "one").returncode == 0
    site = tmp_path / "site"
    done = ovbench("site", tmp_path / "runs", "-o", site, "--title", "Mine & <others>")
    assert (done.returncode, done.stdout) == (0, f"{site / 'index.html'}\n")
    assert "write pages" in done.stderr
    assert "<title>Mine &amp; &lt;others&gt;</title>" in (site / "index.html").read_text()
    assert ovbench("site", tmp_path / "runs", "-o", site).returncode == 0


def test_what_cannot_be_written_or_read(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    done = ovbench("site", tmp_path, "-o", tmp_path / "mine")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert "holds other files; name a folder that is new or a site's" in done.stderr
    done = ovbench("site", tmp_path, "-o", tmp_path / "site")
    assert done.returncode == 2
    assert "no result.json here" in done.stderr
    assert not (tmp_path / "site").exists()
