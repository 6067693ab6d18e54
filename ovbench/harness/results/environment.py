"""What a number was measured with: versions, hardware, commit."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from ovbench.harness.registry.methods import package_version

PACKAGES = ("ovbench", "numpy", "pillow", "torch", "torchvision", "transformers", "diffusers",
            "open-clip-torch", "segment-anything", "pycocotools")  # fmt: skip

# Linux: microseconds of CPU time, or "max", and the microseconds in which they may be spent.
_CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")


@functools.cache
def environment(device: str, plugins: tuple[str, ...] = ()) -> dict[str, Any]:
    """Versions of everything that can move a number, the hardware and the source commit.

    Args:
        plugins: the packages that provide the method, the dataset or the filter.
    """
    commit, dirty = _source_commit()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: package_version(name) for name in (*PACKAGES, *plugins)},
        "cpu": _cpu_name(),
        "cpu_cores": usable_cores(),
        "cpu_threads": _cpu_threads(),
        "gpu": device_name(device) if device.startswith("cuda") else None,
        "driver": _driver() if device.startswith("cuda") else None,
        "git_commit": commit,
        "git_dirty": dirty,
    }


def device_name(device: str) -> str:
    """The device in words, such as ``"cpu"`` or ``"NVIDIA H200"``."""
    if not device.startswith("cuda"):
        return device
    import torch

    return torch.cuda.get_device_name(device)


def _cpu_threads() -> int:
    """Threads a PyTorch operation may use; the cores where PyTorch is not loaded."""
    torch = sys.modules.get("torch")
    return torch.get_num_threads() if torch is not None else usable_cores()


def usable_cores() -> int:
    """Cores that this process may keep busy: the machine's, less what a container withholds."""
    found = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    try:
        spent, period = map(int, _CPU_LIMIT.read_text().split())
    except (OSError, ValueError):
        return found
    return max(1, min(found, -(-spent // period)))


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _source_commit() -> tuple[str | None, bool | None]:
    """The commit of the checkout this package runs from, None for an installed copy.

    An installed copy can lie inside somebody else's repository, so the package's own file
    must be tracked for the commit to be ours.
    """
    here = Path(__file__).parent
    if (
        command_output("git", "-C", str(here), "ls-files", "--error-unmatch", Path(__file__).name)
        is None
    ):
        return None, None
    commit = command_output("git", "-C", str(here), "rev-parse", "HEAD")
    status = command_output("git", "-C", str(here), "status", "--porcelain", "--untracked-files=no")
    return commit, None if status is None else bool(status)


def _driver() -> str | None:
    answer = command_output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return answer.splitlines()[0] if answer else None


def command_output(*command: str) -> str | None:
    """A command's output, None where it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
