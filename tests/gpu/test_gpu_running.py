"""What a run says of a GPU's time and memory, and how it shares one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from proof import Answered, agreement, answered

from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.stages import measure, stage
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.files.images import read_label
from ovbench.harness.registry.methods import Method
from ovbench.harness.run.runner import Options, evaluate

pytestmark = pytest.mark.gpu

MASKCLIP = "--method maskclip --dataset toyworld"


def test_events_tell_what_the_wall_clock_tells(device: str) -> None:
    side = 4096 if device != "cpu" else 512
    left = torch.randn(side, side, device=device)
    with measure(device), stage("first"):
        left @ left
    with measure(device) as spent:
        for name in ("one", "other"):
            with stage(name):
                for _ in range(20):
                    left @ left
    inside = spent.stages_s["one"] + spent.stages_s["other"]
    assert 0.8 * spent.total_s <= inside <= 1.02 * spent.total_s
    assert spent.stages_s["one"] == pytest.approx(spent.stages_s["other"], rel=0.5)


def test_the_peak_is_what_was_held(gpu: str, tmp_path: Path) -> None:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    held = torch.empty(256 * 2**20, dtype=torch.uint8, device=gpu)
    profile = answered(MASKCLIP, tmp_path, gpu, "fp32").result["profile"]
    assert held.numel() < profile["peak_gpu_bytes"] < held.numel() + 2 * 2**30
    assert profile["peak_gpu_bytes"] <= profile["peak_gpu_reserved_bytes"]


class Hungry:
    """Takes two images at once; for more it wants memory that no machine has."""

    def __init__(self, device: str) -> None:
        self.device, self.asked = device, list[int]()

    def prepare(self, vocabulary: Vocabulary) -> None:
        pass

    def segment(self, images: Any, candidates: Any = None) -> Any:
        self.asked.append(len(images))
        torch.empty(2**50 if len(images) > 2 else 1, dtype=torch.uint8, device=self.device)
        return [np.zeros(image.shape[:2], np.uint8) for image in images]


def test_a_batch_that_does_not_fit_is_halved(device: str, memory_dataset: Any) -> None:
    hungry = Hungry(device)
    method = Method.of(hungry, runtime=Runtime(device=device))
    result = evaluate(method, memory_dataset(), options=Options(batch_size=8))
    assert hungry.asked == [8, 4, 2, 2, 2, 2, 2, 2]
    assert result is not None
    assert any("memory did not suffice" in warning for warning in result["run"]["warnings"])


def test_two_processes_share_a_device(device: str, tmp_path: Path) -> None:
    alone = answered(MASKCLIP, tmp_path / "one", device, "fp32")
    output = tmp_path / "two"
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "-m", "ovbench", "run", *MASKCLIP.split(), "--limit", "2", "--device", device,
        "--save-predictions", "--output", str(output),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(list((output / "records").glob("rank-*.jsonl"))) == 2
    maps = {path.stem: read_label(path) for path in (output / "predictions").glob("*.png")}
    assert agreement(alone, Answered(maps, {})) == 1
