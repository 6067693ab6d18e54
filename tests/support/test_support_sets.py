"""Support sets: made once, by whoever comes first, and whole."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recipes import COUNT, NAMES, RECIPE, RUNTIME, Painter
from watchers import Watcher

from ovbench.errors import OvbenchError, UsageError
from ovbench.harness.files import shared
from ovbench.models.diffusion import model as diffusion
from ovbench.models.diffusion.attention import AttributionRule
from ovbench.support import Recipe, SupportSet, SupportSets, drawing_code
from ovbench.support.stored import stored_sets


def make(names: tuple[str, ...] = NAMES, count: int = COUNT) -> list[SupportSet]:
    return SupportSets(RECIPE, RUNTIME).make(names, count)


def digests(sets: list[SupportSet]) -> list[str]:
    return [found.digest for found in sets]


def contents(cache: Path) -> dict[Path, bytes]:
    files = [path for path in cache.rglob("*") if path.suffix in (".png", ".npy")]
    return {path: path.read_bytes() for path in files}


def folder_of(cache: Path, name: str) -> Path:
    (note,) = [n for n in cache.rglob("set.json") if f'"{name}"' in n.read_text()]
    return note.parent


def test_pictures_and_attribution(warm: list[SupportSet]) -> None:
    assert [found.name for found in warm] == list(NAMES)
    first = warm[0]
    assert first.count == COUNT
    assert (first.images.dtype, first.images.shape) == (np.uint8, (COUNT, 96, 96, 3))
    assert (first.attribution.dtype, first.attribution.shape) == (np.float32, (COUNT, 24, 24))
    assert first.attribution.min() >= 0
    assert len({found.images.tobytes() for found in warm}) == len(NAMES)
    assert (first.images[0] != first.images[1]).any()


def test_what_is_kept_is_what_was_generated(warm: list[SupportSet]) -> None:
    requests = [
        diffusion.Request("a picture of a ring", RECIPE.noise_of("ring", index)[0], "dog", "ring")
        for index in range(COUNT)
    ]
    model = diffusion.load_diffusion(RECIPE.model, RUNTIME)
    made = model.generate(requests, RECIPE.sampling, rule=RECIPE.rule)
    assert made.attribution is not None
    assert (made.images == warm[0].images).all()
    assert (made.attribution.numpy() == warm[0].attribution).all()


def test_a_second_call_loads_no_model_and_takes_no_time(warm: list[SupportSet]) -> None:
    program = (
        "import sys, time; sys.path.insert(0, 'tests/support')\n"
        "from recipes import COUNT, NAMES, RECIPE, RUNTIME\n"
        "from ovbench.support import SupportSets\n"
        "start = time.perf_counter()\n"
        "sets = SupportSets(RECIPE, RUNTIME).make(NAMES, COUNT)\n"
        "print(time.perf_counter() - start < 2)\n"
        "print({'diffusers', 'ovbench.models.diffusion.model'} & set(sys.modules))\n"
        "print(*(found.digest for found in sets))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    fast, loaded, found = done.stdout.decode().splitlines()
    assert (fast, loaded) == ("True", "set()")
    assert found.split() == digests(warm)


def test_more_classes_and_pictures_change_nothing(painter: Painter, cache: Path) -> None:
    (two,) = make(("ring",), 2)
    before = contents(cache)
    grown = make(("star", "ring", "cross"), 11)
    assert {path: contents(cache)[path] for path in before} == before
    assert (grown[1].images[:2] == two.images).all()
    assert len(contents(cache)) == 2 * 3 * 11
    # The first of a larger set are a set of their own, whenever they were made.
    assert digests(make(("ring",), 2)) == [two.digest]
    shutil.rmtree(cache)
    assert digests(make(("ring",), 11)) == [grown[1].digest]
    assert two.digest != grown[1].digest


def test_batches_are_the_same_ones_whatever_is_missing(painter: Painter, cache: Path) -> None:
    make(("ring",), 12)
    assert [len(batch) for batch in painter.batches] == [8, 4]
    whole = painter.batches.copy()
    (folder_of(cache, "ring") / "0010.png").unlink()
    make(("ring",), 12)
    assert [[r.seed for r in batch] for batch in painter.batches[2:]] == [
        [request.seed for request in whole[1]]
    ]


def test_names_may_repeat(painter: Painter) -> None:
    first, _, again = make(("ring", "star", "ring"), 1)
    assert first.digest == again.digest
    assert len(painter.batches) == 2


def test_everything_that_decides_a_picture_is_in_its_key(
    painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampling = RECIPE.sampling
    recipes = [
        RECIPE,
        replace(RECIPE, prompt="a photo of a {}"),
        replace(RECIPE, negative=""),
        replace(RECIPE, seed=8),
        replace(RECIPE, noise="shared"),
        *(
            replace(RECIPE, sampling=replace(sampling, **change))
            for change in (
                {"solver": "ddim"},
                {"steps": 3},
                {"guidance": 5.0},
                {"height": 32},
                {"width": 32},
                {"levels": "truncated"},
            )
        ),
        *(
            replace(RECIPE, rule=rule)
            for rule in (
                AttributionRule(reductions=(2,)),
                AttributionRule(peak_normalised=True),
                AttributionRule(mode="bilinear"),
                AttributionRule(each_step=True),
            )
        ),
    ]
    made = [SupportSets(recipe, RUNTIME).make(["ring"], 1)[0].digest for recipe in recipes]
    made += [SupportSets(RECIPE, replace(RUNTIME, precision="bf16")).make(["ring"], 1)[0].digest]
    other = SupportSets(RECIPE, RUNTIME)
    other.checkpoints = (replace(other.checkpoints[0], sha256="0"), *other.checkpoints[1:])
    made += [other.make(["ring"], 1)[0].digest]
    assert len(set(made)) == len(painter.batches) == len(recipes) + 2


def test_pictures_of_other_code_are_named_and_never_mixed_with_new_ones(
    painter: Painter, cache: Path, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old,) = make(("ring",), 2)
    assert [one.is_of_this_code for one in stored_sets()] == [True]
    monkeypatch.setattr(drawing_code, "MODULES", drawing_code.MODULES[:-1])
    drawing_code.drawing_code.cache_clear()
    try:
        watcher.lines.clear()
        (new,) = make(("ring",), 3)
        assert watcher.lines[0] == (
            "1 of 1 classes have support pictures that other code drew; they are made again, and "
            "`ovbench support list` names the old ones"
        )
        assert new.digest != old.digest
        assert (len(painter.batches), len(contents(cache))) == (2, 2 * 2 + 2 * 3)
        assert sorted(one.is_of_this_code for one in stored_sets()) == [False, True]
        watcher.lines.clear()
        make(("ring",), 4)
        assert "other code" not in " ".join(watcher.lines)
    finally:
        drawing_code.drawing_code.cache_clear()


def test_everything_that_draws_is_known_as_such() -> None:
    used = {name for name in sys.modules if name.startswith("ovbench.models.diffusion.model")}
    assert used <= set(drawing_code.MODULES)
    assert "ovbench.models.diffusion.model" in used


def test_pictures_of_two_classes_or_places_never_share_a_seed() -> None:
    noise = {RECIPE.noise_of(name, index) for name in NAMES for index in range(100)}
    seeds = {seed for seed, _ in noise}
    assert len(seeds) == len(noise) == 100 * len(NAMES)
    assert max(seeds) < 2**63
    assert replace(RECIPE, seed=8).noise_of("ring", 0) not in noise


def test_shared_noise_is_the_same_for_every_class_and_another_for_every_picture() -> None:
    shared = replace(RECIPE, noise="shared")
    assert {shared.noise_of(name, 3) for name in NAMES} == {(RECIPE.seed, 3)}
    assert len({shared.noise_of("ring", index) for index in range(100)}) == 100


def test_damage_is_mended(warm: list[SupportSet], cache: Path, watcher: Watcher) -> None:
    whole = contents(cache)
    truncated = folder_of(cache, "ring") / "0001.png"
    truncated.write_bytes(truncated.read_bytes()[:-100])
    flipped = folder_of(cache, "cross") / "0000.npy"
    data = bytearray(flipped.read_bytes())
    data[-3] ^= 1
    flipped.write_bytes(data)
    (folder_of(cache, "star") / "0000.png").unlink()
    (folder_of(cache, "red disc") / "set.json").write_text('{"pictures": [')
    assert digests(make()) == digests(warm)
    assert contents(cache) == whole
    assert watcher.works[0].total == watcher.works[0].done == 1 + 1 + 1 + COUNT
    assert digests(make()) == digests(warm)
    assert len(watcher.works) == 1


def test_damage_while_in_use_is_said(painter: Painter, cache: Path) -> None:
    (found,) = make(("ring",), 1)
    picture = next(cache.rglob("0000.png"))
    picture.write_bytes(b"no picture")
    with pytest.raises(OvbenchError, match=r"0000\.png: removed or damaged while it was in use"):
        _ = found.images
    picture.unlink()
    with pytest.raises(OvbenchError, match="run again"):
        _ = found.attribution


def test_what_is_ahead_is_said_before_it_begins(painter: Painter, watcher: Watcher) -> None:
    make(("ring", "star"), 9)
    assert [(work.title, work.total) for work in watcher.works] == [("support pictures", 18)]
    assert watcher.works[0].done == pytest.approx(18)
    ahead, estimate = watcher.lines
    assert ahead.startswith("18 support pictures of 2 classes, 16x16, 2 steps, by painter/one; ")
    assert "they take at most" in ahead
    assert estimate.startswith("8 took")
    assert "the other 10 will take about 0:00:0" in estimate


def test_too_little_room_is_said_before_it_begins(
    painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**6, 10**6 - 10**4, 10**4))
    with pytest.raises(UsageError, match=r"10\.0 kB free, and .* may take .*OVBENCH_CACHE"):
        make(("ring",), 8)
    assert not painter.batches


def test_a_full_disk_is_said_and_leaves_nothing_half(
    painter: Painter, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = Path.write_bytes, []

    def full(path: Path, data: bytes) -> int:
        written.append(path)
        if len(written) > 3:
            write(path, data[:5])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(UsageError, match=r"No space left on device.*OVBENCH_CACHE") as said:
            make(("ring",), 4)
    assert "\n" not in str(said.value)
    assert not list(cache.rglob("set.json"))
    assert not list(cache.rglob(".*"))
    mended = make(("ring",), 4)
    shutil.rmtree(cache)
    assert digests(make(("ring",), 4)) == digests(mended)


def test_a_cache_that_cannot_be_written_to(painter: Painter, cache: Path) -> None:
    cache.write_text("not a folder")
    with pytest.raises(UsageError, match="cannot be written to"):
        make(("ring",), 1)


def test_a_cache_that_is_complete_need_not_be_written_to(
    painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(("ring",), 1)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    monkeypatch.setattr(shared.FileLock, "acquire", refuse)
    assert digests(make(("ring",), 1)) == digests(made)
    with pytest.raises(UsageError, match="Permission denied"):
        make(("ring",), 2)


def test_a_prompt_without_a_place_for_the_name() -> None:
    for prompt in ("a ring", "a {} and a {}"):
        with pytest.raises(UsageError, match=r"needs one \{\}, where the name stands"):
            Recipe("stable_diffusion_v1_5", prompt, "", RECIPE.sampling, RECIPE.rule, 0)
    assert replace(RECIPE, prompt="{name}: {}").text("a {b}") == "{name}: a {b}"


WORKER = """
import sys, time
sys.path.insert(0, "tests/support")
from recipes import COUNT, NAMES, RECIPE, RUNTIME, Painter
from ovbench.harness.contract.progress import watching
from ovbench.models.diffusion import model as diffusion
from ovbench.support import SupportSets, shelf
from watchers import Watcher

class Told(Watcher):
    def says(self, line):
        print(line, file=sys.stderr, flush=True)

if "painter" in sys.argv:
    diffusion.load_diffusion = lambda _name, _runtime: Painter()
if "stop" in sys.argv:  # in the middle of writing the second class
    write, count = shelf.write, 0
    def stop(path, data):
        global count
        count += 1
        if count == 2 * COUNT + 3:
            path.with_name(f".{path.name}.half").write_bytes(data[:9])
            path.write_bytes(data[:-9])
            print("stopped", flush=True)
            time.sleep(600)
        write(path, data)
    shelf.write = stop
with watching(Told()):
    print(*(found.digest for found in SupportSets(RECIPE, RUNTIME).make(NAMES, COUNT)))
"""


@pytest.mark.parametrize("model", ["painter", pytest.param("miniature", marks=pytest.mark.slow)])
def test_two_processes_of_which_one_is_killed(
    model: str, cache: Path, request: pytest.FixtureRequest
) -> None:
    command = [sys.executable, "-c", WORKER, model]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, "stop"], **pipes) as first:  # type: ignore[call-overload]
        assert first.stdout.readline() == "stopped\n"
        with subprocess.Popen(command, **pipes) as second:
            # All that the first one is not at is made meanwhile, and then it is waited for.
            line = ""
            while "waiting" not in line:
                line = second.stderr.readline()
                assert line
            assert "another process that is making pictures of 'cross' (it holds " in line
            assert len(list(cache.rglob("set.json"))) == len(NAMES) - 1
            first.kill()
            out, _ = second.communicate(timeout=120)
    assert second.returncode == 0
    assert not list(cache.rglob(".*"))
    together = out.split(), contents(cache)
    if model == "painter":
        request.getfixturevalue("painter")
    shutil.rmtree(cache)
    assert (digests(make()), contents(cache)) == together
