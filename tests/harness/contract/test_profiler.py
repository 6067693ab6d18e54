from __future__ import annotations

import subprocess
import sys
import time

import pytest

from ovbench.harness.contract.stages import measure, peak_memory, stage


def test_stages_nest_and_add_up() -> None:
    with measure("cpu") as spent:
        for _ in range(2):
            with stage("outer"):
                time.sleep(0.01)
                with stage("inner"):
                    time.sleep(0.01)
        time.sleep(0.01)
    assert set(spent.stages_s) == {"outer", "outer/inner"}
    assert spent.stages_s["outer/inner"] >= 0.02
    assert spent.stages_s["outer"] >= spent.stages_s["outer/inner"] + 0.02
    assert spent.total_s >= spent.stages_s["outer"] + 0.01


def test_a_stage_outside_a_measurement_does_nothing() -> None:
    with stage("alone"):
        pass
    with measure("cpu") as spent:
        pass
    assert spent.stages_s == {}


def test_a_measurement_ends_when_its_block_raises() -> None:
    with pytest.raises(KeyError), measure("cpu") as spent, stage("broken"):
        raise KeyError
    assert spent.total_s > 0
    assert "broken" in spent.stages_s
    with stage("after"):
        pass
    assert "after" not in spent.stages_s


def test_peak_memory_counts_what_was_touched() -> None:
    before = peak_memory("cpu").rss
    if before is None:
        return
    block = bytearray(64 * 2**20)
    block[::4096] = b"x" * len(block[::4096])
    assert peak_memory("cpu").rss >= before
    assert peak_memory("cpu").rss > 64 * 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_memory_is_not_that_of_the_process_that_started_this_one() -> None:
    program = (
        "import subprocess, sys\n"
        "block = b'x' * (500 * 2**20)\n"
        "ask = 'from ovbench.harness.contract.stages import peak_memory\\n'\n"
        "for mebibytes in 0, 64, 32, 128:\n"
        "    ask += f'block = bytes({mebibytes} * 2**20).replace(bytes(1), bytes([1]))\\n'\n"
        "    ask += 'print(peak_memory(\"cpu\").rss)\\n'\n"
        "print(subprocess.run([sys.executable, '-c', ask], capture_output=True).stdout.decode())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    none, some, less, more = (int(line) / 2**20 for line in done.stdout.split())
    assert 1 < none < 200
    assert none < some <= less < more < 400
