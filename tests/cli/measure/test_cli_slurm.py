"""``ovbench suite --executor slurm``, on a real Slurm."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gated_method import FREE
from in_process import ovbench

from ovbench.errors import OvbenchError, UsageError
from ovbench.harness.results.store import RunStore
from ovbench.harness.run.standing import standing
from ovbench.harness.suite.executors import Job
from ovbench.harness.suite.ledger import Ledger, Outcome, outcome_path
from ovbench.harness.suite.slurm import minutes_of

SCRIPT = Path(__file__).parents[3] / "ci" / "slurm.sh"
NOT_HERE = 77
ONE = "methods: [random]\nbenchmarks: [toyworld]\nlimit: 3\n"


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("90", 90),
        ("4:00:00", 240),
        ("2:31", 3),
        ("1-0", 1440),
        ("1-12:30", 2190),
        ("2-1:2:3", 2942),
    ],
)
def test_a_time_is_read_as_sbatch_reads_it(text: str, minutes: int) -> None:
    assert minutes_of(text) == minutes


@pytest.mark.parametrize("text", ["", "soon", "1:2:3:4", "1", "-5", "1.5"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--time-limit"):
        minutes_of(text)


def test_words_for_slurm_are_refused_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(ONE)
    monkeypatch.chdir(tmp_path)

    def error(*words: str) -> str:
        done = ovbench("suite", path, *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.count("\n") == 1
        return done.stderr

    assert error("--nodes", "2") == "error: --nodes goes with --executor slurm\n"
    assert error("--detach") == "error: --detach goes with --executor slurm\n"
    slurm = ("--executor", "slurm")
    assert "use --time-limit" in error(*slurm, "--sbatch", "time=5")
    assert "ovbench has its own" in error(*slurm, "--sbatch", "--output=x")
    assert "NAME=VALUE" in error(*slurm, "--sbatch", "a b=5")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: object())
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert error(*slurm).startswith("error: --executor slurm: no sbatch here; give the command on")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert error(*slurm) == (
        "error: --executor slurm needs submitit: `pip install 'ovbench[slurm]'`\n"
    )
    assert not (tmp_path / "runs").exists()


def test_a_ledger_knows_how_its_jobs_ended(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path, "mine", ["a", "b", "c"])
    ledger.jobs = {"a": "7_0", "b": "7_1", "c": "7_2"}
    ledger.failures["c"] = "before"
    ledger.write()
    Outcome("7_0", 2.0, "no memory").write(outcome_path(tmp_path, "a"))
    Outcome("6_1", 2.0, "of an earlier job").write(outcome_path(tmp_path, "b"))
    Outcome("7_2", 3.0, None).write(outcome_path(tmp_path, "c"))
    found = Ledger.read(tmp_path)
    assert found is not None
    assert found.failures == {"a": "no memory"}
    assert found.jobs == {"b": "7_1"}
    assert found.seconds == {"a": 2.0, "c": 3.0}
    outcome_path(tmp_path, "b").write_text("{")  # cut
    assert (again := Ledger.read(tmp_path)) is not None
    assert again.jobs == {"b": "7_1"}
    told = ovbench("status", tmp_path, "--json")
    assert json.loads(told.stdout)["suites"][0]["states"] == {
        "failed": 1,
        "submitted": 1,
        "not begun": 1,
    }


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Slurm of two nodes; skips where it cannot be installed, unless it is required."""
    folder = tmp_path_factory.mktemp("slurm")
    done = subprocess.run(
        ["bash", SCRIPT, "start", folder], stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode == NOT_HERE and not os.environ.get("OVBENCH_REQUIRE_SLURM"):
        pytest.skip("no Slurm, and it cannot be installed here")
    assert done.returncode == 0, done.stderr[-3000:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        try:
            yield
        finally:
            subprocess.run(["bash", SCRIPT, "stop", folder], check=True)


def tell(*words: str) -> str:
    """What a command of Slurm answers."""
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, f"{what}\n{tell('squeue', '--array')}"
        time.sleep(0.05)


def about(job: str, field: str) -> str:
    """A field of a job, such as ``"Restarts"``."""
    words = tell("scontrol", "show", "job", "--oneliner", job).split()
    return next(word.partition("=")[2] for word in words if word.startswith(f"{field}="))


def goes_on(*jobs: str) -> None:
    """Slurm keeps what is back in its queue for two minutes: what is left of it must be gone."""
    waiting = set(jobs)

    def run() -> bool:
        for job in list(waiting):
            if about(job, "Reason") == "BeginTime":
                time.sleep(1.2)  # in the same second its old credential would be refused
                tell("scontrol", "update", f"jobid={job}", "starttime=now")
                waiting.discard(job)
        return all(about(job, "JobState") == "RUNNING" for job in jobs)

    until(run, f"{jobs} run again")


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
@pytest.mark.usefixtures("slurm")
def test_whatever_happens_to_jobs_the_suite_ends_as_on_this_machine(  # noqa: PLR0915 - one story
    tmp_path: Path, registered: Callable[..., dict[str, str]]
) -> None:
    """Cancelled, requeued, preempted, out of time, on a drained node, and nobody who waits."""
    path, gate = tmp_path / "mine.yaml", tmp_path / "gate"
    path.write_text("methods: [gated]\nbenchmarks: [toyworld]\nlimit: 24\nseeds: [0, 1, 2]\n")
    environment = {
        **registered("gated_method", gated="Gated"),
        "GATE": str(gate),
        "SLURM_CONF": os.environ["SLURM_CONF"],
    }
    out, calm = tmp_path / "out", tmp_path / "calm"

    def suite(out: Path, *more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "ovbench", "suite", path, "-o", out, "--device", "cpu"]
        return subprocess.Popen(
            [*map(str, command), *more],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def images(run: Path) -> int:
        return standing(run).images if (run / "run.json").exists() else 0

    def known(run: str) -> str | None:
        return json.loads((out / "suite.json").read_text())["jobs"].get(run)

    runs = [out / f"gated-toyworld-limit-24{end}" for end in ("", "-seed-1", "-seed-2")]
    first = suite(out, "--executor", "slurm", "--sbatch", "comment=a table")
    try:
        until(lambda: [images(run) for run in runs] == [FREE, FREE, 0], "two of three begin")
    finally:
        first.kill()
        first.communicate()
    jobs = json.loads((out / "suite.json").read_text())["jobs"]
    zero, one, two = (jobs[run.name] for run in runs)
    assert zero.endswith("_0")
    told = json.loads(ovbench("status", out, "--json").stdout)
    assert told["suites"][0]["states"] == {"measuring": 2, "submitted": 1}

    node = about(one, "NodeList")
    tell("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    tell("scancel", one)
    until(lambda: tell("sinfo", "-h", "-p", "main", "-n", node, "-o", "%T") == "drained", "drained")
    tell("scontrol", "requeue", zero)  # its place is the only one left: two's turn
    until(lambda: images(runs[2]) == FREE, "the third begins")
    assert about(zero, "Restarts") == "1"
    before = [int(about(job, "Restarts")) for job in (zero, two)]
    tell("sbatch", "--partition=urgent", f"--output={tmp_path}/urgent.log", "--wrap=sleep 1")
    until(lambda: about(two, "Restarts") == "1" or about(zero, "Restarts") == "2", "preempted")
    tell("scontrol", "update", f"nodename={node}", "state=resume")
    goes_on(zero, two)
    until(lambda: images(runs[0]) >= 2 * FREE and images(runs[2]) >= 2 * FREE, "both go on")
    assert sum(int(about(job, "Restarts")) for job in (zero, two)) > sum(before)

    restarts = int(about(zero, "Restarts"))
    tell("scancel", "--signal=USR2", zero)  # as Slurm does before its time is up
    until(lambda: int(about(zero, "Restarts")) > restarts, "back in the queue")
    assert images(runs[1]) == FREE
    assert not any((run / "result.json").exists() for run in runs)

    goes_on(zero)
    last = suite(out, "--executor", "slurm")
    until(lambda: known(runs[1].name) != one, "the cancelled one is submitted")
    gate.touch()
    shown, lines = last.communicate(timeout=120)
    assert last.returncode == 0, lines
    assert "2 of 3 runs have their jobs in the queue already" in lines
    assert "1 run is job " in lines
    assert shown.count("| gated") == 3
    assert suite(calm).wait() == 0
    for run in runs:
        still = calm / run.name
        assert RunStore(run).identity() == RunStore(still).identity()
        assert counts(run) == counts(still)
        assert len(counts(run)) == 24
        ours, theirs = (json.loads((p / "result.json").read_text()) for p in (run, still))
        for part in ("metrics", "per_class", "vocabulary", "config", "code"):
            assert ours[part] == theirs[part]
    assert json.loads((out / "suite.json").read_text())["jobs"] == {}


@pytest.mark.slow
@pytest.mark.usefixtures("slurm")
def test_failures_and_large_runs(tmp_path: Path) -> None:
    """What a job failed with is known to whoever asks later; two nodes share a run."""
    path, out = tmp_path / "mine.yaml", tmp_path / "out"
    both = ONE.replace("[toyworld]", "[toyworld, folder]") + f"root: {tmp_path}/own\n"
    path.write_text(both.replace("toyworld, ", ""))
    images = tmp_path / "own" / "images"
    images.mkdir(parents=True)
    (tmp_path / "own" / "masks").mkdir()
    (tmp_path / "own" / "classes.txt").write_text("cat\n")
    for folder in (images, tmp_path / "own" / "masks"):
        (folder / "a.png").write_bytes(b"no picture")
    words = ("suite", path, "-o", out, "--device", "cpu", "--executor", "slurm", "--detach")

    def over() -> bool:
        ledger = Ledger.read(out)
        return ledger is not None and not ledger.jobs

    assert ovbench(*words).returncode == 0
    until(over, "it fails")
    path.write_text(both)
    sent = ovbench(*words, "--nodes", "2", "--gpus-per-node", "1")
    assert (sent.returncode, sent.stdout) == (0, ""), sent.stderr
    assert "1 run is job " in sent.stderr  # what failed is not tried again
    until(over, "both end")
    told = ovbench("status", out).stdout
    assert "1 done, 1 failed" in told
    assert "random-folder-limit-3 failed: " in told
    assert "a.png" in told
    shards = sorted((out / "random-toyworld-limit-3" / "records").glob("rank-*.jsonl"))
    assert [shard.stem for shard in shards] == ["rank-0", "rank-1"]
    assert len(counts(out / "random-toyworld-limit-3")) == 3

    refused = ovbench(*words, "--retry-failed", "--sbatch", "partition=nowhere")
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith("error: Slurm takes no job: ")
    assert "partition" in refused.stderr.splitlines()[-1]


def test_a_job_is_known_by_what_it_is() -> None:
    """What goes to a node holds texts alone: another Python may read it."""
    import pickle

    pytest.importorskip("submitit")
    from ovbench.harness.suite.node import Node

    job = Job("a", ("run",), Path("out/a"), Path("out/logs/a.log"))
    assert pickle.loads(pickle.dumps(Node(job, 2, 4))).job == job


def test_a_job_that_gets_nowhere_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    from ovbench.harness.suite import node

    images = 0
    monkeypatch.setattr(node, "_measured", lambda _directory: images)
    for name, value in {"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "7"}.items():
        monkeypatch.setenv(name, value)
    job = Job("a", ("run",), tmp_path / "a", tmp_path / "logs" / "a.log")

    def time_is_up(before: node.Node) -> node.Node | None:
        after = before.checkpoint()
        return None if after is None else after.function

    first = time_is_up(node.Node(job, 1, 0))
    assert first is not None
    second = time_is_up(first)
    assert second is not None
    images = 1  # it gets somewhere
    third = time_is_up(second)
    assert third is not None
    assert (first.fruitless, second.fruitless, third.fruitless) == (1, 2, 0)
    assert not (tmp_path / "slurm").exists()
    images = 0
    assert time_is_up(second) is None
    outcome = Outcome.read(outcome_path(tmp_path, "a"))
    assert outcome is not None
    assert outcome.job == "7"
    assert outcome.failure == "its time was up 3 times without one more image; raise --time-limit"


def test_nothing_is_submitted_where_squeue_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ovbench.harness.suite import slurm as there

    def fails(*_words: object, **_more: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", fails)
    ledger = Ledger.open(tmp_path, "mine", ["a"])
    job = Job("a", ("run",), tmp_path / "a", tmp_path / "logs" / "a.log")
    executor = there.Slurm(ledger, there.Share(), print)
    with pytest.raises(OvbenchError, match="squeue does not answer"):
        next(executor.execute([job], print))
    assert [*tmp_path.iterdir()] == []
