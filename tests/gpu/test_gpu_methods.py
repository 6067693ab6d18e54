"""Every method gives a CPU's labels on a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
from proof import agreement, answered, lines_of, note

pytestmark = pytest.mark.gpu

# They draw pictures in the precision they compute in, and others in another one.
OWN_PICTURES = ("ovdiff", "rim")


@pytest.fixture(scope="module")
def on_cpu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a line's run on the CPU stays for the second precision, which reads it again."""
    return tmp_path_factory.mktemp("cpu")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("line", lines_of("cpu_gate.txt"))
def test_miniatures(line: str, precision: str, device: str, on_cpu: Path, tmp_path: Path) -> None:
    if precision == "bf16" and line.split()[1] in OWN_PICTURES:
        pytest.skip("other pictures of the classes")
    folder = on_cpu / line.replace(" ", "").replace("/", "")
    cpu = answered(line, folder, "cpu", "fp32")
    found = answered(line, tmp_path, device, precision)
    _note(line, precision, agreement(found, cpu), found.result)
    assert agreement(found, cpu) >= (0.999 if precision == "fp32" else 0.995)


@pytest.mark.parametrize("line", lines_of("gpu_smoke.txt"))
def test_real_sizes(line: str, device: str, tmp_path: Path) -> None:
    """With random weights; what bf16 makes of these is noise, and only noted."""
    real = f"{line} --checkpoints real"
    cpu = answered(real, tmp_path / "cpu", "cpu", "fp32")
    found = answered(real, tmp_path / "found", device, "fp32")
    half = answered(real, tmp_path / "half", device, "bf16")
    _note(real, "fp32", agreement(found, cpu), found.result)
    _note(real, "bf16", agreement(half, cpu), half.result)
    assert agreement(found, cpu) >= 0.999


def _note(line: str, precision: str, agreeing: float, result: object) -> None:
    assert isinstance(result, dict)
    peak = result["profile"]["peak_gpu_bytes"]
    note(line=line, precision=precision, agreement=agreeing, peak_gpu_bytes=peak)
