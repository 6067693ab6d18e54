"""Who may import whom, and what must stay cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ovbench

PACKAGE = Path(ovbench.__file__).parent

# A room and what it may import besides itself; "harness.x" names single modules.
GROUND = {"errors", "text", "harness.contract.protocol"}
ALLOWED = {
    "cli": {
        "errors",
        "text",
        "leaderboards",
        "harness",
        "datasets",
        "drawing",
        "toyworld",
        "support",
        "models.weights.inventory",
    },
    "leaderboards": {
        "errors",
        "text",
        "drawing",
        "harness.files.atomic",
        "harness.metrics.definitions",
        "harness.metrics.interval",
        "harness.files.json_files",
        "harness.metrics.scores",
        "harness.contract.protocol",
        "harness.files.regular",
        "harness.results.store",
    },
    "adapters": {
        *GROUND,
        "harness.contract.settings",
        "harness.contract.stages",
        "harness.contract.tuning",
        "harness.files",
        "harness.contract.progress",
        "models",
        "refine",
        "support",
    },
    "support": {
        *GROUND,
        "harness.files.atomic",
        "harness.files",
        "harness.files.json_files",
        "harness.contract.progress",
        "harness.files.regular",
        "drawing",
        "models",
    },
    "datasets": {
        *GROUND,
        "harness.files.atomic",
        "harness.files.below",
        "harness.files.download",
        "harness.files",
        "harness.files.images",
        "harness.files.json_files",
        "harness.files.loader",
        "harness.contract.progress",
        "harness.registry.names",
        "harness.files.regular",
        "harness.contract.twins",
        "drawing",
        "toyworld",
    },
    "drawing": {"harness.contract.protocol", "text"},
    "models": {
        *GROUND,
        "harness.files.download",
        "harness.files",
        "harness.files.json_files",
        "harness.contract.stages",
        "harness.contract.progress",
        "harness.files.regular",
    },
    "refine": set(),
    "toyworld": {*GROUND, "models"},
    "harness": {"errors"},
}
# These stand on the ground floor of the harness: nothing in it but the contract below them.
HARNESS_GROUND = (
    "protocol",
    "twins",
    "typed",
    "metrics",
    "boundary",
    "definitions",
    "interval",
    "resized",
    "settings",
    "profiler",
    "progress",
    "regular",
    "images",
    "atomic",
    "below",
    "json_files",
    "lines",
    "download",
    "files/cache",
    "files/digests",
    "files/shared",
    "tuning",
    "parameters",
)


def imports_of(path: Path) -> set[str]:
    """Dotted names below ``ovbench`` that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("ovbench.") for name in found if name.startswith("ovbench.")}


def files() -> list[Path]:
    return [path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE]


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_downwards(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0]
    allowed = {room, *ALLOWED[room]}
    strays = {
        name
        for name in imports_of(path)
        if not any(name == ok or name.startswith(f"{ok}.") for ok in allowed)
    }
    assert not strays


@pytest.mark.parametrize("name", HARNESS_GROUND)
def test_ground_floor_of_the_harness(name: str) -> None:
    allowed = ("errors", *(f"harness.{ground.replace('/', '.')}" for ground in HARNESS_GROUND))
    imported = imports_of(PACKAGE / "harness" / f"{name}.py")
    assert {i for i in imported if not i.startswith(allowed)} == set()


def test_one_module_prints() -> None:
    """All others hand it text, which it never takes for markup or lets act on a terminal."""
    drawing = {"print", "Console", "Progress", "Live", "echo", "secho", "tqdm", "from_markup"}
    allowed = {"cli/shared/console.py": {"print"}, "cli/progress/bar.py": {"Progress"}}
    programs = ("toyworld/train/", "toyworld/gallery/", "toyworld/evaluate/")
    strays = []
    for path in PACKAGE.rglob("*.py"):
        place = path.relative_to(PACKAGE).as_posix()
        if place.startswith(programs):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            name = called.rpartition(".")[2]
            writes = called in ("sys.stdout.write", "sys.stderr.write") and "console" not in place
            draws = name in drawing - allowed.get(place, set()) and "console." not in called
            if writes or draws:
                strays.append(f"{place}:{node.lineno} {called}")
    assert strays == []


def test_an_adapter_never_asks_which_weights_it_got() -> None:
    for path in (PACKAGE / "adapters").glob("*.py"):
        words = ast.dump(ast.parse(path.read_text(encoding="utf-8")))
        assert "'toy'" not in words
        assert "miniature" not in words.lower()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["list"],
        ["list", "methods"],
        ["list", "datasets"],
        ["list", "checkpoints"],
        ["run", "--help"],
        ["tune", "--help"],
        ["support", "--help"],
        ["profile", "--help"],
        ["report", "--help"],
    ],
)
def test_cheap_commands_do_not_import_torch(arguments: list[str]) -> None:
    program = (
        "import sys; from ovbench.cli.app import app\n"
        f"app({arguments!r}, standalone_mode=False)\n"
        "heavy = {'torch', 'transformers', 'open_clip', 'numpy', 'PIL', 'matplotlib'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize(
    "module",
    [
        "datasets.voc",
        "datasets.toyworld",
        "harness.metrics.scores",
        "cli.shared.show",
        "support.stored",
    ],
)
def test_light_modules_do_not_import_torch(module: str) -> None:
    program = f"import sys, ovbench.{module}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_renderer_stands_on_nothing() -> None:
    for path in (PACKAGE / "toyworld").glob("*.py"):
        assert {name.partition(".")[0] for name in imports_of(path)} <= {"toyworld"}


# What comes with the package, and what the system says of itself. All else is a user's: a pipe or a
# device may lie there.
NOT_A_USERS = {
    "datasets/names.py: _folder(benchmark) / f'{name}.txt'",
    "datasets/names.py: packaged",
    "harness/run/conformance.py: Path('/proc/self/statm')",
    "harness/results/environment.py: Path('/proc/cpuinfo')",
    "harness/contract/stages.py: Path('/proc/self/status')",
    "leaderboards/report/page.py: files('ovbench.leaderboards.report') / 'static' / name",
    "leaderboards/reported/published.py: files('ovbench.leaderboards') / 'data' / f'{name}.csv'",
    "models/weights/inventory.py: folder / 'card.json'",
    "support/drawing_code.py: Path(spec.origin)",
}


def read_by(call: ast.Call) -> ast.expr | None:
    """What a call reads a file from, if it is one of those that do."""
    if isinstance(call.func, ast.Name):
        reads = call.func.id in ("loadmat", "load_file") or (
            call.func.id == "open" and "w" not in ast.unparse(call.args[1])
        )
        return call.args[0] if reads else None
    if not isinstance(call.func, ast.Attribute):
        return None
    if call.func.attr in ("read_text", "read_bytes"):
        return call.func.value
    if call.func.attr == "open" and call.args and ast.unparse(call.args[0]) in ("'r'", "'rb'"):
        return call.func.value
    return call.args[0] if ast.unparse(call.func) == "torch.load" else None


def test_a_users_files_are_read_only_where_they_are_files() -> None:
    found = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith("toyworld/"):  # made here
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            read = read_by(node) if isinstance(node, ast.Call) else None
            if read is not None and not ast.unparse(read).startswith("regular("):
                found.add(f"{name}: {ast.unparse(read)}")
    assert found == NOT_A_USERS
