"""``ovbench suite`` and ``ovbench status``: many runs from one file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import numpy as np
import pytest
from in_process import ovbench
from PIL import Image

from ovbench.cli.progress import suite as progress
from ovbench.errors import UsageError
from ovbench.harness.files.alone import alone_in
from ovbench.harness.results.store import RunStore
from ovbench.harness.run.standing import standing
from ovbench.harness.suite import local
from ovbench.harness.suite.estimates import Estimate
from ovbench.harness.suite.executors import Ended, Job, Lines
from ovbench.models.weights.catalogue import Entry

ONE = "methods: [random]\nbenchmarks: [toyworld]\nlimit: 3\n"
TWO = ONE + "seeds: [0, 7]\n"


class _Here:
    """Executes in this process, where starting costs nothing; keeps what it was given."""

    started: list[str]

    def __init__(self, slots: Sequence[object], *_memory: object) -> None:
        self.slots = slots

    def execute(
        self, jobs: Sequence[Job], watch: Callable[[Sequence[Job]], None]
    ) -> Generator[Ended]:
        for job in jobs:
            self.started.append(job.name)
            watch([job])
            done = ovbench(*job.arguments)
            job.log.parent.mkdir(parents=True, exist_ok=True)
            job.log.write_text(done.stdout + done.stderr)
            failed = local.failure_in(job.log, done.returncode) if done.returncode else None
            yield Ended(job, 2.0, failed)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the runs that were started, which happens in this process."""
    found: list[str] = []
    monkeypatch.setattr(_Here, "started", found, raising=False)
    monkeypatch.setattr(local, "Local", _Here)
    return found


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def states(path: Path, out: Path, *more: str) -> dict[str, str]:
    done = ovbench("suite", path, "-o", out, "--dry-run", "--json", *more)
    assert done.returncode == 0, done.stderr
    return {run["run"]: run["state"] for run in json.loads(done.stdout)["runs"]}


def test_a_suite_is_measured_once_and_ends_with_its_table(
    tmp_path: Path, started: list[str]
) -> None:
    path, out = written(tmp_path, TWO), tmp_path / "out"
    names = ["random-toyworld-limit-3", "random-toyworld-limit-3-seed-7"]
    assert states(path, out) == dict.fromkeys(names, "to do")
    assert not out.exists()

    done = ovbench("suite", path, "-o", out, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert started == names
    assert done.stdout.count("| random") == 2
    assert f"{names[1]}: done in 2 s" in done.stderr
    result = json.loads((out / names[1] / "result.json").read_text())
    assert result["run"]["seed"] == 7
    assert result["run"]["command"].startswith("ovbench run --method random --dataset toyworld")

    # Each is a run like any other: its own command finds that there is nothing to do.
    assert states(path, out) == dict.fromkeys(names, "done")
    again = ovbench("suite", path, "-o", out, "--device", "cpu", "--quiet")
    assert (again.returncode, again.stdout) == (0, done.stdout)
    assert started == names
    alone = ovbench(*result["run"]["command"].split()[1:])
    assert "all 3 images were measured before" in alone.stderr

    # A longer list goes on from what there is, and knows what it takes.
    more = states(written(tmp_path, TWO.replace("[0, 7]", "[0, 7, 8]")), out)
    assert list(more.values()) == ["done", "done", "to do"]
    shown = ovbench("suite", path, "-o", out, "--dry-run").stdout
    assert "2 done, 1 to do; about 2 s, one run at a time" in shown


def test_a_few_images_tell_what_no_run_does(tmp_path: Path, started: list[str]) -> None:
    path, out = written(tmp_path, TWO.replace("limit: 3", "limit: 9")), tmp_path / "out"
    names = ["random-toyworld-limit-9", "random-toyworld-limit-9-seed-7"]
    call = ("suite", path, "-o", out, "--dry-run")
    assert "how long the rest takes is unknown" in ovbench(*call).stdout
    done = ovbench(*call, "--try", "2", "--json", "--device", "cpu")
    assert (done.returncode, started) == (0, names[:1])  # one of a kind
    assert done.stderr == f"{names[0]}: tried in 2 s\n"
    told = {run["run"]: run for run in json.loads(done.stdout)["runs"]}
    assert [told[name]["state"] for name in names] == ["to do", "to do"]
    assert told[names[0]]["seconds"] == told[names[1]]["seconds"] > 0
    assert told[names[0]]["memory_bytes"] > 0
    assert [one.name for one in out.iterdir()] == ["suite.json"]
    assert len(json.loads((out / "suite.json").read_text())["tried"]) == 1

    # What a run takes is known better than what a few images do, and asked again of nobody.
    assert ovbench("suite", path, "-o", out, "--device", "cpu").returncode == 0
    again = ovbench(*call, "--try", "2")
    assert started == [names[0], *names]
    assert "2 done" in again.stdout
    assert "--try goes with --dry-run" in ovbench("suite", path, "--try", "2").stderr
    (out / "suite.json").write_text(
        (out / "suite.json").read_text().replace('"per_image_s"', '"per_picture_s"')
    )
    assert ovbench(*call).returncode == 0


def test_what_fails_is_told_in_its_line_and_stops_nothing(
    tmp_path: Path, started: list[str]
) -> None:
    images = tmp_path / "own" / "images"
    masks = tmp_path / "own" / "masks"
    for folder in (images, masks):
        folder.mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "a.png")
    (tmp_path / "own" / "classes.txt").write_text("cat\ndog\n")
    good = (images / "a.png").read_bytes()
    (images / "a.png").write_bytes(good[:40])
    path = written(
        tmp_path,
        f"""
methods: [random]
benchmarks:
  - {{benchmark: folder, root: {tmp_path / "own"}}}
  - voc20
  - {{benchmark: toyworld, limit: 3}}
""",
    )
    out = tmp_path / "out"
    call = ("suite", path, "-o", out, "--device", "cpu")
    done = ovbench(*call)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"error: 2 of 3 runs are not done; `ovbench suite {path} --output {out} --dry-run` says "
        "why, --retry-failed starts again what failed"
    )
    assert "random-voc20 not ready: voc needs --root DIR" in done.stderr
    assert "random-folder: failed: " in done.stderr
    assert (
        "a.png"
        in (why := json.loads((out / "suite.json").read_text())["failures"])["random-folder"]
    )
    assert done.stdout.count("| random") == 1
    assert started == ["random-folder", "random-toyworld-limit-3"]

    again = ovbench(*call)
    assert again.returncode == 1
    assert len(started) == 2
    assert f"random-folder failed: {why['random-folder']}" in again.stderr
    told = ovbench("status", out)
    assert "suite mine in" in told.stdout
    assert "1 failed, 1 not begun, 1 done" in told.stdout

    (images / "a.png").write_bytes(good)
    mended = ovbench(*call, "--retry-failed")
    assert started[2:] == ["random-folder"]
    assert "1 of 3 runs are not done" in mended.stderr
    assert "--retry-failed" not in mended.stderr.splitlines()[-1]
    assert states(path, out)["random-folder"] == "done"


def test_what_was_measured_with_other_labels_is_not_done(
    tmp_path: Path, started: list[str]
) -> None:
    names = tmp_path / "names.txt"
    plain = [*"abcdefghij"]
    names.write_text("background\n" + "\n".join(plain) + "\n")
    path, out = written(tmp_path, f"{ONE}names: {names}\n"), tmp_path / "out"
    call = ("suite", path, "-o", out, "--device", "cpu")
    assert ovbench(*call).returncode == 0
    assert [*states(path, out).values()] == ["done"]

    names.write_text("background\n" + "\n".join(reversed(plain)) + "\n")
    assert [*states(path, out).values()] == ["other"]
    refused = ovbench(*call)
    assert refused.returncode == 1
    assert "other: differs in vocabulary.names" in refused.stderr
    assert len(started) == 1
    assert ovbench(*call, "--fresh").returncode == 0
    assert len(started) == 2
    assert [*states(path, out).values()] == ["done"]


def test_a_cut_run_is_begun_and_another_suites_folder_is_refused(
    tmp_path: Path, started: list[str]
) -> None:
    path, out = written(tmp_path, ONE), tmp_path / "out"
    assert ovbench("suite", path, "-o", out, "--device", "cpu").returncode == 0
    run = out / "random-toyworld-limit-3"
    shard = run / "records" / "rank-0.jsonl"
    (run / "result.json").unlink()
    shard.write_bytes(
        b"".join(shard.read_bytes().splitlines(keepends=True)[:2]) + b'{"image":"torn'
    )
    shown = ovbench("suite", path, "-o", out, "--dry-run").stdout
    assert shown.count("begun") == 2
    assert "1 of 3" in shown
    assert "1 of 3" in ovbench("status", out).stdout
    assert ovbench("suite", path, "-o", out, "--device", "cpu").returncode == 0
    assert started == [run.name] * 2

    other = tmp_path / "other.yaml"
    other.write_text(ONE)
    refused = ovbench("suite", other, "-o", out)
    assert refused.returncode == 2
    assert refused.stderr == (
        f"error: {out} is the folder of the suite 'mine'; give another --output\n"
    )
    with alone_in(out):
        assert "another process is writing here" in ovbench("suite", path, "-o", out).stderr
    (out / "suite.json").write_text("{}")
    assert ovbench("suite", path, "-o", out).stderr == (
        f"error: {out / 'suite.json'}: not written by ovbench\n"
    )


def test_what_is_damaged_hides_nothing_of_the_others(tmp_path: Path, started: list[str]) -> None:
    path, out = written(tmp_path, TWO), tmp_path / "out"
    call = ("suite", path, "-o", out, "--device", "cpu")
    assert ovbench(*call).returncode == 0
    first, second = (out / name for name in started)

    result = json.loads((first / "result.json").read_text())
    result["metrics"]["miou"] = result["profile"]["wait_s"] = result["run"]["num_images"] = "x"
    (first / "result.json").write_text(json.dumps(result))
    assert [*states(path, out).values()] == ["begun", "done"]
    told = ovbench("status", out)
    assert (told.returncode, told.stderr) == (0, "")
    assert ovbench(*call).returncode == 0  # its records make it again
    assert [*states(path, out).values()] == ["done", "done"]

    (first / "run.json").write_text("{")
    (out / "suite.json").write_text("{")
    told = ovbench("status", out)
    assert told.returncode == 2
    assert " done " in told.stdout
    assert told.stderr.startswith(f"error: {first / 'run.json'}: not readable as JSON")
    assert told.stderr.endswith("(and 1 more cannot be read)\n")
    as_json = ovbench("status", out, "--json")
    assert as_json.returncode == 2
    assert [run["path"] for run in json.loads(as_json.stdout)["runs"]] == [str(second)]


def test_lines_for_a_scheduler_measure_what_is_left(tmp_path: Path, started: list[str]) -> None:
    path, out = written(tmp_path, TWO), tmp_path / "a folder"
    lines = ovbench(
        "suite", path, "-o", out, "--device", "cpu", "--lines", "torchrun"
    ).stdout.splitlines()
    assert lines[0] == (
        "torchrun --nproc-per-node gpu -m ovbench run --method random --dataset toyworld "
        f"--limit 3 --device cpu --output '{out}/random-toyworld-limit-3'"
    )
    slurm = ovbench("suite", path, "-o", out, "--lines", "sbatch").stdout.splitlines()
    assert len(slurm) == len(lines) == 2
    assert slurm[1].startswith(
        "sbatch --job-name random-toyworld-limit-3-seed-7 --gpus 1 --requeue"
    )
    assert (out / "logs").is_dir()
    assert started == []
    # What the line says is what the suite takes for done.
    words = (
        lines[0].partition(" -m ovbench ")[2].replace(f"'{out}/", "OUT").replace("'", "").split()
    )
    assert ovbench(*[word.replace("OUT", f"{out}/") for word in words]).returncode == 0
    assert [*states(path, out).values()] == ["done", "to do"]


def test_what_is_missing_is_told_with_its_size_and_fetched_by_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    path = written(tmp_path, "methods: [sclip, naclip]\nbenchmarks: [voc20, toyworld]\n")
    shown = ovbench("suite", path, "-o", tmp_path / "out", "--dry-run").stdout
    again = f"ovbench suite {path} --output {tmp_path / 'out'} --fetch"
    assert f"1 checkpoint is missing, 599.0 MB: `{again}` fetches them" in shown
    assert "clip/ViT-B-16 openai: 599.0 MB, timm/vit_base_patch16_clip_224.openai" in shown
    assert "2 runs not ready: voc needs --root DIR" in shown

    asked: list[str] = []

    def obtain(entry: Entry) -> Path:
        asked.append(entry.name)
        return tmp_path

    monkeypatch.setattr("ovbench.cli.progress.fetching.obtain", obtain)
    done = ovbench("suite", path, "--fetch")
    assert asked == ["ViT-B-16 openai"]
    assert done.stdout == f"clip/ViT-B-16 openai: {tmp_path}\n"
    assert "clip/ViT-B-16 openai: 599.0 MB" in done.stderr
    assert ovbench("suite", "demo", "--fetch").stdout == "no checkpoint is missing\n"


def test_words_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, ONE)
    assert "--json goes with --dry-run" in ovbench("suite", path, "--json").stderr
    assert "did you mean 'demo'" in ovbench("suite", "demos").stderr
    nothing = ovbench("status", tmp_path)
    assert nothing.returncode == 2
    assert "no run here" in nothing.stderr


def job(folder: Path, *arguments: str) -> Job:
    return Job("one", arguments, folder / "one", folder / "logs" / "one.log")


def test_a_log_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "one.log").symlink_to(tmp_path / "nowhere" / "one.log")
    with pytest.raises(UsageError, match=r"logs/one.log: cannot be written \("):
        next(local.Local([{}]).execute([job(tmp_path)], lambda _jobs: None))


def test_slurm_reads_no_pattern_in_a_folders_name(tmp_path: Path) -> None:
    line = Lines("sbatch", print).line(job(tmp_path / "100%j", "run"))
    assert f"--output {tmp_path}/100%%j/logs/one.log" in line


def test_a_job_waits_for_who_is_at_work_in_its_directory(tmp_path: Path) -> None:
    """A suite that was killed may leave a run behind that goes on by itself."""
    waits: list[Sequence[Job]] = []
    with alone_in(tmp_path / "one"):

        def watch_twice(running: Sequence[Job]) -> None:
            waits.append(running)
            if len(waits) == 3:
                raise TimeoutError

        ends = local.Local([{}]).execute([job(tmp_path, "--version")], watch_twice)
        with pytest.raises(TimeoutError):
            next(ends)
    assert waits == [[], [], []]
    (ended,) = local.Local([{}]).execute([job(tmp_path, "--version")], waits.append)
    assert ended.failure is None
    assert ended.job.log.read_text().startswith("ovbench ")


def test_a_death_has_its_reason(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("error: the first\nwords\nerror: the last\n")
    assert local.failure_in(log, 2) == "the last"
    assert local.failure_in(log, -signal.SIGKILL) == "killed by SIGKILL; perhaps out of memory"
    assert local.failure_in(tmp_path / "none", 3) == "ended with exit code 3"


def test_places_share_the_cores_and_take_turns_on_the_gpus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(local, "usable_cores", lambda: 6)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-5")
    share = {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    assert [place["CUDA_VISIBLE_DEVICES"] for place in local.slots("auto", None)] == ["2", "GPU-5"]
    assert local.slots("cuda", 3) == [
        {"CUDA_VISIBLE_DEVICES": "2", **share},
        {"CUDA_VISIBLE_DEVICES": "GPU-5", **share},
        {"CUDA_VISIBLE_DEVICES": "2", **share},
    ]
    assert local.slots("cpu", None) == [{}]
    assert local.slots("cuda:1", 2) == [{"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3"}] * 2
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert local.slots("cpu", 2) == [{}, {}]


def counts(run: Path) -> dict[str, str]:
    """What a run recorded, without what a clock decides."""
    found = {}
    for shard in sorted((run / "records").glob("rank-*.jsonl")):
        for line in shard.read_text().splitlines():
            record = json.loads(line)
            if "image" in record:
                found[record["image"]] = json.dumps({**record, "cost": 0, "crc": 0})
    return found


@pytest.mark.slow
def test_a_suite_that_is_killed_three_times_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    path = written(tmp_path, TWO.replace("limit: 3", "limit: 300"))

    def images(run: Path) -> int:
        return standing(run).images if (run / "run.json").exists() else 0

    def begin(out: Path) -> subprocess.Popen[bytes]:
        words = ("suite", path, "-o", out, "--device", "cpu", "--quiet")
        command = [sys.executable, "-m", "ovbench", *map(str, words)]
        return subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            # Tests that a script runs in its background begin with Ctrl-C ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )

    assert begin(tmp_path / "calm").wait() == 0
    out = tmp_path / "storm"
    first, second = (out / f"random-toyworld-limit-300{end}" for end in ("", "-seed-7"))
    for run, sent, code in (
        (first, signal.SIGKILL, -signal.SIGKILL),
        (first, signal.SIGTERM, 130),
        (second, signal.SIGINT, 130),
    ):
        before = images(run)
        suite = begin(out)
        until = time.monotonic() + 120
        while images(run) < before + 5:  # the suite just begun is at work on it
            assert suite.poll() is None
            assert time.monotonic() < until
            time.sleep(0.002)
        assert not (run / "result.json").exists()
        if sent == signal.SIGTERM:  # the suite alone is told, and tells its run
            os.kill(suite.pid, sent)
        else:
            os.killpg(suite.pid, sent)
        assert suite.wait() == code
        assert not (run / "result.json").exists()
    assert begin(out).wait() == 0
    for run in (first, second):
        calm = tmp_path / "calm" / run.name
        assert RunStore(run).identity() == RunStore(calm).identity()
        assert counts(run) == counts(calm)
        one, other = (json.loads((p / "result.json").read_text()) for p in (run, calm))
        for part in ("metrics", "per_class", "vocabulary", "config", "code"):
            assert one[part] == other[part]
        assert len(counts(run)) == 300
        assert one["run"]["id"] == other["run"]["id"]


def test_looking_at_large_runs_takes_a_hundredth_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, looks = [0.0], []

    def slow(directory: Path) -> None:
        looks.append(clock[0])
        clock[0] += 1.0
        raise UsageError("nothing is there yet")

    monkeypatch.setattr(progress, "standing", slow)
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with progress.observer("mine", 1, 0, {"one": Estimate()}, 1, quiet=True) as watching:
        for _ in range(300):
            watching.running([job(tmp_path)])
            clock[0] += 1.0
    assert looks == [0.0, 101.0, 202.0]
