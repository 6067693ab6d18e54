"""Where the time and the memory go.

A method marks its stages with ``with stage("encode"): ...``. Outside a measurement that
costs one global look-up. On a GPU a stage records two CUDA events and never waits; the
measurement waits once, at its end.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

_current: Measurement | None = None
_peaks = 0, 0
"""The last peaks of the resident set, in bytes: the system's figure, and this process's own."""


@dataclass(slots=True)
class Measurement:
    """Wall time of one measured block.

    Attributes:
        total_s: seconds, device work included; set when the block ends.
        stages_s: seconds per stage; a stage inside another is named ``"outer/inner"`` and
            its time is also part of the outer one's.
    """

    on_gpu: bool
    total_s: float = 0.0
    stages_s: dict[str, float] = field(default_factory=dict)
    _path: list[str] = field(default_factory=list)
    _events: list[tuple[str, Any, Any]] = field(default_factory=list)


class stage:  # noqa: N801 - reads as a statement: `with stage("encode"):`
    """Time a named part of :meth:`Segmenter.prepare` or :meth:`Segmenter.segment`."""

    __slots__ = ("_measurement", "_name", "_start")

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._measurement = _current
        if self._measurement is None:
            return
        self._measurement._path.append(self._name)
        self._start = _cuda_event() if self._measurement.on_gpu else time.perf_counter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        measurement = self._measurement
        if measurement is None:
            return
        path = "/".join(measurement._path)
        measurement._path.pop()
        if measurement.on_gpu:
            measurement._events.append((path, self._start, _cuda_event()))
        else:
            spent = time.perf_counter() - self._start
            measurement.stages_s[path] = measurement.stages_s.get(path, 0.0) + spent


class measure:  # noqa: N801 - reads as a statement: `with measure(device) as spent:`
    """Time a block and the stages inside it.

    On a GPU the device is drained before the clock starts and before it stops, so that
    ``total_s`` holds exactly the block's own work.
    """

    __slots__ = ("_device", "_measurement", "_outer", "_start")

    def __init__(self, device: str) -> None:
        self._device = device

    def __enter__(self) -> Measurement:
        global _current
        self._measurement = Measurement(on_gpu=self._device.startswith("cuda"))
        self._outer, _current = _current, self._measurement
        if self._measurement.on_gpu:
            _synchronize(self._device)
        self._start = time.perf_counter()
        return self._measurement

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        global _current  # noqa: PLW0603 - one measurement at a time is the point
        measurement = self._measurement
        try:
            if measurement.on_gpu and kind is None:
                _synchronize(self._device)
        finally:
            measurement.total_s = time.perf_counter() - self._start
            _current = self._outer
        if kind is not None:
            return
        for path, begin, end in measurement._events:
            spent = begin.elapsed_time(end) / 1000
            measurement.stages_s[path] = measurement.stages_s.get(path, 0.0) + spent


@dataclass(frozen=True, slots=True)
class PeakMemory:
    """Highest memory use of this process so far, in bytes; None where it cannot be read."""

    rss: int | None
    gpu_allocated: int | None
    gpu_reserved: int | None


def peak_memory(device: str) -> PeakMemory:
    """The peak resident set, and on a GPU the peak of PyTorch's allocator."""
    allocated = reserved = None
    if device.startswith("cuda"):
        import torch

        allocated = torch.cuda.max_memory_allocated(device)
        reserved = torch.cuda.max_memory_reserved(device)
    return PeakMemory(_peak_rss(), allocated, reserved)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the GPU's or the machine's memory does not suffice."""
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    # PyTorch's allocator for the CPU has no exception of its own.
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def _peak_rss() -> int | None:
    global _peaks  # noqa: PLW0603 - a process has one peak
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if sys.platform == "darwin":
        return peak
    peak *= 1024
    # It begins with the peak of the process that started this one. Only when it has grown, or may
    # still be that one's, is the own peak looked up: a file costs eight times as much beside
    # threads that wait for the interpreter, and this is asked for every image.
    if peak != _peaks[0] or _peaks[1] < peak:
        _peaks = peak, _own_peak_rss() or peak
    return _peaks[1]


def _own_peak_rss() -> int | None:
    """As Linux knows it."""
    try:
        found = Path("/proc/self/status").read_bytes().partition(b"VmHWM:")[2]
    except OSError:
        return None
    return int(found.split(maxsplit=1)[0]) * 1024 if found else None


def _cuda_event() -> Any:
    import torch

    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record()
    return event


def _synchronize(device: str) -> None:
    import torch

    torch.cuda.synchronize(device)
