from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ovbench.leaderboards.tables.profile_chart import profile_chart


def row(method: str, batch_size: int, median: float | None) -> dict[str, Any]:
    figures = None
    if median is not None:
        figures = {
            "latency_s": {"median": median, "p95": 2 * median, "mean": median},
            "images_per_s": batch_size / median,
            "checkpoints": [],
            "peak_rss_bytes": 2**30,
            "peak_gpu_bytes": 3 * 2**30 if batch_size > 1 else None,
        }
    return {
        "method": method,
        "precision": "bf16",
        "size": "native",
        "batch_size": batch_size,
        "status": "ok" if figures else "out_of_memory",
        "reason": None if figures else "no more",
        "figures": figures,
    }


def document(device: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    grid = {
        "methods": ["a", "b"],
        "batch_sizes": [8, 1],
        "sizes": ["native"],
        "precisions": ["bf16"],
    }
    return {
        "conditions": {
            "grid": grid,
            "dataset": {"name": "voc", "split": "val", "num_images": 4},
            "vocabulary": {"names": ["x"] * 21},
            "checkpoints": "toy",
            "device": device,
        },
        "environment": {"gpu": "Some GPU", "cpu": "Some CPU", "cpu_threads": 1},
        "rows": rows,
    }


def test_every_figure_is_where_it_belongs(tmp_path: Path) -> None:
    rows = [row("a", 8, 0.5), row("a", 1, 0.1), row("b", 8, None), row("b", 1, 0.2)]
    figure = profile_chart(document("cuda:0", rows))
    latency, throughput, memory = figure.axes
    curves = [list(map(list, line.get_data())) for line in latency.lines]
    assert [[0, 1], [pytest.approx(100), pytest.approx(500)]] in curves
    assert [[0], [pytest.approx(200)]] in curves
    assert [[1, 1], [pytest.approx(500), pytest.approx(1000)]] in curves  # up to p95
    assert [t.get_text() for t in latency.get_xticklabels()] == ["1", "8"]
    assert list(throughput.lines[0].get_ydata()) == [pytest.approx(10), pytest.approx(16)]
    assert [list(line.get_ydata()) for line in memory.lines] == [[3.0]]  # the GPU's, where known
    assert "GPU" in memory.get_title()
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [
        "a, bf16, native",
        "b, bf16, native",
        "b, bf16, native, batch 8: out of memory",
    ]
    figure.savefig(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert len(picture.convert("L").getcolors()) > 10


def test_a_profile_without_figures_is_drawn(tmp_path: Path) -> None:
    figure = profile_chart(document("cpu", [row("a", 1, None)]))
    figure.savefig(tmp_path / "a.png")
    assert "process" in figure.axes[2].get_title()
