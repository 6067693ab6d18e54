"""Who may import whom, and what must stay cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import ovbench
from ovbench.harness.registry.names import DATASETS, METHODS, Registry

PACKAGE = Path(ovbench.__file__).parent

# Every wing and what it may import besides itself, always of wings that stand below it: the table
# is read from the ground up, and nothing runs back up. A file belongs to the longest name that
# fits; "x.*" is what stands at the top of x, beside its wings.
WORDS = {"errors", "text"}
CONTRACT = {"errors", "harness.contract"}
FILES = {*CONTRACT, "harness.files"}
METRICS = {*CONTRACT, "harness.metrics"}
REGISTRY = {*FILES, "harness.registry"}
RESULTS = {*REGISTRY, *METRICS, "harness.results"}
RUN = {*RESULTS, "harness.run"}
WEIGHTS = {*FILES, "models.weights", "models.*"}
MODELS = {*WEIGHTS, "models.pixels", "models.patches"}
PARTS = {*CONTRACT, "models", "refine", "adapters.parts"}
READING = {*FILES, "drawing", "text", "datasets.names", "datasets.reading"}
TABLES = {*RESULTS, *WORDS, "drawing", "leaderboards.reported", "leaderboards.tables"}
COMMANDS = {*RUN, *WORDS, "harness", "leaderboards", "datasets", "drawing", "support",
            "scaffold", "models.regions", "models.weights", "toyworld", "cli.shared",
            "cli.progress"}  # fmt: skip
ALLOWED: dict[str, set[str]] = {
    "harness.contract": {"errors"},
    "harness.files": CONTRACT,
    "harness.metrics": CONTRACT,
    "harness.registry": FILES,
    "harness.results": {*REGISTRY, *METRICS},
    "harness.run": RESULTS,
    "harness.profile": RUN,
    "harness.tune": RUN,
    "drawing": {"harness.contract", "text"},
    "refine": set(),
    "models.weights": FILES,
    "models.pixels": CONTRACT,
    "models.*": {*WEIGHTS, "models.pixels"},
    "models.patches": {*WEIGHTS, "models.pixels"},
    "models.clip": MODELS,
    "models.diffusion": MODELS,
    "models.grouping": {*MODELS, "models.clip", "models.towers"},
    "models.matchers": MODELS,
    "models.pixelwise": {*MODELS, "models.clip"},
    "models.prompted": MODELS,
    "models.radio": MODELS,
    "models.regions": {*MODELS, "models.sam", "refine"},
    "models.sam": MODELS,
    "models.towers": MODELS,
    "support": {*FILES, "drawing", "models"},
    "adapters.parts": {*CONTRACT, "models", "refine"},
    "adapters": {*PARTS, "harness.files", "support"},
    "toyworld.*": set(),
    "toyworld": {*CONTRACT, "models", "toyworld.*"},
    "datasets.names": {*FILES, "text"},
    "datasets.reading": READING - {"datasets.reading"},
    "datasets.fetching": FILES,
    "datasets.choosing": {*CONTRACT, "datasets.names"},
    "datasets.prompting": {*READING, "datasets.choosing"},
    "datasets.*": {*READING, "datasets.choosing", "datasets.prompting", "harness.registry",
                   "toyworld.*"},
    "datasets.derived": {*CONTRACT, "datasets"},
    "harness.suite": {*RUN, "datasets", "harness.profile", "models.weights"},
    "scaffold": {*FILES, "harness.registry", "datasets"},
    "leaderboards.reported": WORDS,
    "leaderboards.tables": TABLES - {"leaderboards.tables"},
    "leaderboards.formats": TABLES,
    "leaderboards.gates": TABLES,
    "leaderboards.report": {*TABLES, "leaderboards.formats", "leaderboards.gates"},
    "leaderboards.site": {*TABLES, "leaderboards.formats", "leaderboards.gates",
                          "leaderboards.report"},
    "leaderboards.sharing": {*TABLES, "leaderboards.formats"},
    "cli.shared": COMMANDS - {"cli.shared", "cli.progress"},
    "cli.progress": COMMANDS - {"cli.progress"},
    "cli.catalogue": COMMANDS,
    "cli.measure": COMMANDS,
    "cli.tables": COMMANDS,
    "cli.*": {*COMMANDS, "cli.catalogue", "cli.measure", "cli.tables"},
}  # fmt: skip
MODULES_PER_FOLDER = 16  # with its __init__


def name_of(path: Path) -> str:
    """Dotted, below ``ovbench``; a package goes by the name of its folder."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def files() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE)


MODULES = {name_of(path) for path in PACKAGE.rglob("*.py")}


def imports_of(path: Path) -> set[str]:
    """Modules of ``ovbench`` that a file imports, wherever in it; dotted, below ``ovbench``."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    own = {name.removeprefix("ovbench.") for name in found if name.startswith("ovbench.")}
    return {name if name in MODULES else name.rpartition(".")[0] for name in own} - {""}


def above(module: str) -> list[str]:
    """What a module stands in, itself first."""
    parts = module.split(".")
    return [".".join(parts[:n]) for n in range(len(parts), 0, -1)]


def wing_of(module: str) -> str:
    """The longest name in the table that a module stands in, or stands at the top of."""
    room = module.partition(".")[0]
    at_top = f"{room}.*" in ALLOWED and not (PACKAGE / Path(*module.split(".")[:2])).is_dir()
    if module == room or at_top:
        return f"{room}.*" if f"{room}.*" in ALLOWED else room
    return next((name for name in above(module) if name in ALLOWED), room)


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_imports_run_downwards(path: Path) -> None:
    wing = wing_of(name_of(path))
    allowed = {wing, *ALLOWED.get(wing, set())}  # a room of wings alone holds a docstring

    strays = {
        module for module in imports_of(path) if not allowed & {*above(module), wing_of(module)}
    }
    assert strays == set()


def test_no_circles() -> None:
    """Neither between modules nor between wings, where imports inside functions count."""
    modules = {name_of(path): imports_of(path) - {name_of(path)} for path in files()}
    wings: dict[str, set[str]] = {}
    for module, imported in modules.items():
        others = {wing_of(name) for name in imported if name not in WORDS}
        wings.setdefault(wing_of(module), set()).update(others - {wing_of(module)})
    list(TopologicalSorter(modules).static_order())
    list(TopologicalSorter(wings).static_order())


def test_no_folder_is_a_hall() -> None:
    crowded = {
        str(folder.relative_to(PACKAGE)): count
        for folder in {path.parent for path in files()}
        if (count := len(list(folder.glob("*.py")))) > MODULES_PER_FOLDER
    }
    assert crowded == {}


@pytest.mark.parametrize(
    ("room", "registry", "others"),
    [
        ("adapters", METHODS, {"__init__", "parts"}),
        ("datasets", DATASETS,
         {"__init__", "names", "reading", "fetching", "choosing", "prompting", "derived"}),
    ],
)  # fmt: skip
def test_what_stands_at_the_top_is_what_one_can_choose(
    room: str, registry: Registry, others: set[str]
) -> None:
    """A method or a benchmark is found by its name in the room's listing."""
    homes = {
        entry.target.partition(":")[0].split(".")[2]
        for entry in registry.entries.values()
        if entry.package == "ovbench"
    }
    there = {path.stem for path in (PACKAGE / room).iterdir() if path.name != "__pycache__"}
    assert there - others == homes


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
    for path in (PACKAGE / "adapters").rglob("*.py"):
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
        ["list", "methods", "--markdown"],
        ["list", "methods", "--all"],
        ["weights", "list"],
        ["list", "checkpoints"],
        ["new", "--help"],
        ["new", "method", "--help"],
        ["run", "--help"],
        ["tune", "--help"],
        ["support", "--help"],
        ["profile", "--help"],
        ["report", "--help"],
        ["suite", "--help"],
        ["status", "--help"],
    ],
)
def test_cheap_commands_do_not_import_torch(arguments: list[str]) -> None:
    program = (
        "import sys; from ovbench.cli.app import app\n"
        f"app({arguments!r}, standalone_mode=False)\n"
        "heavy = {'torch', 'transformers', 'open_clip', 'numpy', 'PIL', 'matplotlib', 'pydantic'}\n"
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
    "datasets/names/sets.py: _file(benchmark, name)",
    "harness/run/conformance.py: Path('/proc/self/statm')",
    "harness/results/environment.py: Path('/proc/cpuinfo')",
    "harness/results/environment.py: _CPU_LIMIT",
    "harness/contract/stages.py: Path('/proc/self/status')",
    "leaderboards/report/page.py: files('ovbench.leaderboards.report') / 'static' / name",
    "leaderboards/site/pages.py: files('ovbench.leaderboards.site') / 'static' / name",
    "leaderboards/reported/data.py: files('ovbench.leaderboards') / 'data' / f'{name}.csv'",
    "models/weights/inventory.py: folder / 'card.json'",
    "models/weights/plain_pickle.py: io.BytesIO(data)",
    "scaffold/package.py: template",
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


def test_no_two_files_of_tests_have_one_name() -> None:
    """pytest collects them without packages, by name alone, and leaves the second one out."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert [name for name in names if names.count(name) > 1] == []
