"""What small commands say: of wrong words one line, of long work a line in a log."""

from __future__ import annotations

from pathlib import Path

import pytest
from in_process import ovbench

RUN = ("run", "-d", "toyworld", "--limit", "1")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-m", "random", "--set", "x=1"), "no setting 'x'; there are none"),
        (("-m", "random", "-o", "/dev/null"), "/dev/null: is no folder, so nothing can be written"),
        (("-m", "random", "-o", "/dev/null/a/b"), "/dev/null: is no folder, so nothing can be wri"),
        (("-m", "random", "--device", "tpu"), "--device tpu: PyTorch knows no such device; write"),
        (("-m", "random", "--device", "meta"), "--device meta: "),
        (
            ("-m", "maskclip", "--set", "short_side=100000"),
            "setting short_side=100000: at most 4096",
        ),
        (
            ("-m", "maskclip", "--set", "short_side=100000000000"),
            "short_side=100000000000: at most 4096",
        ),
    ],
)
def test_wrong_words_are_one_line(words: tuple[str, ...], message: str) -> None:
    done = ovbench(*RUN, *words)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert message in done.stderr
    assert len(done.stderr) < 200


def test_a_log_has_a_line_of_loading_embedding_and_preparing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVBENCH_CACHE", str(tmp_path / "cache"))
    words = (*RUN, "-m", "maskclip", "--device", "cpu", "--set", "prompts=single")
    shown = ovbench(*words, "-o", tmp_path / "a").stderr.splitlines()
    assert shown[0] == "load maskclip"
    assert shown[1] == "prepare for 11 classes"
    assert shown[2].startswith("texts embedded: ")
    assert ovbench(*words, "-o", tmp_path / "b", "--quiet").stderr == ""
