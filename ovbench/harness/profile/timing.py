"""What one method costs at one batch size, image size and precision."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ovbench.harness.contract.datasets import DatasetInfo, Sample
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.stages import measure, peak_memory
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.files.features import nothing_kept
from ovbench.harness.profile.image_size import ImageSize
from ovbench.harness.registry.methods import load_method
from ovbench.harness.results.summary import number, percentile, stage_shares
from ovbench.harness.run.runner import predictor_for
from ovbench.harness.run.seeding import seed_everything


@dataclass(frozen=True, slots=True)
class Job:
    """One configuration to measure, with the data it needs.

    Attributes:
        samples: at their original size; batches take them in turn, from the first again
            behind the last.
        info: of the dataset that they are from.
        size: what the samples are resized to, None for none.
        warmup: batches before the measured ones.
        repeats: measured batches.
    """

    method: str
    preset: str | None
    settings: Mapping[str, Any]
    runtime: Runtime
    vocabulary: Vocabulary
    samples: Sequence[Sample]
    info: DatasetInfo
    size: ImageSize | None
    batch_size: int
    warmup: int
    repeats: int


def figures(job: Job) -> dict[str, Any]:
    """Build the method and measure it; JSON-ready, times in seconds, memory in bytes.

    Meant for a process of its own: the peaks are those of the whole process so far.
    """
    with nothing_kept():  # the repeats would only read what the first one, or another run, left
        return _figures(job)


def _figures(job: Job) -> dict[str, Any]:
    runtime = job.runtime
    batches = _batches(job)
    method = load_method(
        job.method,
        preset=job.preset,
        benchmark=job.info,
        settings=job.settings,
        device=runtime.device,
        precision=runtime.precision,
        checkpoints=runtime.checkpoints,
        seed=runtime.seed,
    )
    predictor = predictor_for(method.segmenter, job.vocabulary, job.info.prompted)
    seed_everything(runtime.seed)
    with measure(runtime.device) as preparation:
        notes = predictor.prepare()
    measured = []
    for batch in batches:
        seed_everything(runtime.seed)
        with measure(runtime.device) as spent:
            predictor.predict(batch, None)
        measured.append(spent)
    del measured[: job.warmup]
    latency = np.array([spent.total_s for spent in measured])
    median, mean = float(np.median(latency)), float(latency.mean())
    queries = len(job.vocabulary.query_texts)
    memory = peak_memory(runtime.device)
    shown = [sample.image for batch in batches[job.warmup :] for sample in batch]
    return {
        "latency_s": {"median": median, "p95": percentile(latency, 95), "mean": mean},
        "images_per_s": number(job.batch_size / median if median > 0 else math.nan),
        "queries": queries,
        "per_query_s": median / (job.batch_size * queries),
        "stages": stage_shares([spent.stages_s for spent in measured], mean),
        "prepare_s": preparation.total_s,
        "prepare_stages_s": preparation.stages_s,
        "peak_rss_bytes": memory.rss,
        "peak_gpu_bytes": memory.gpu_allocated,
        "peak_gpu_reserved_bytes": memory.gpu_reserved,
        "pixels_per_image": float(np.mean([image.shape[0] * image.shape[1] for image in shown])),
        "settings": dict(method.subject.settings),
        "checkpoints": [asdict(checkpoint) for checkpoint in method.subject.checkpoints],
        "notes": list(notes),
    }


def _batches(job: Job) -> list[list[Sample]]:
    """Warm-up and measured batches; a sample that occurs several times is resized once."""
    rounds, size = job.warmup + job.repeats, job.batch_size
    samples = list(job.samples[: rounds * size])
    if job.size is not None:
        samples = [job.size.resize(sample) for sample in samples]
    return [
        [samples[(start + position) % len(samples)] for position in range(size)]
        for start in range(0, rounds * size, size)
    ]
