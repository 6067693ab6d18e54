"""The site's folder: written file by file, and finished where it was cut short."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from ovbench.errors import UsageError
from ovbench.harness.files.atomic import ready_folder, replacing
from ovbench.harness.files.json_files import write_json
from ovbench.harness.files.regular import regular
from ovbench.harness.registry.sources import code_of
from ovbench.leaderboards.report.contents import read_contents
from ovbench.leaderboards.report.page import page, static
from ovbench.leaderboards.report.pictures import Pictures
from ovbench.leaderboards.site import pages
from ovbench.leaderboards.site.drawn import Drawing, Drawn, digest_of, draw_group, group_of
from ovbench.leaderboards.site.entries import Entry, slug
from ovbench.leaderboards.site.numbers import images_script, pictures_script, run_script
from ovbench.leaderboards.tables.measured import Measured

MARKER = "site.json"
"""Says that a folder is a site of ours, whose files may be replaced and removed."""

_FOLDERS = ("run", "method", "benchmark", "data")
_NO_PICTURES = (
    "No pictures: `ovbench site --images` draws those of runs that kept their predictions, and "
    "`ovbench report` those of any run."
)


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds something else.

    Raises:
        UsageError: it is no folder, or holds other files.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARKER).is_file():
        raise UsageError(f"{folder}: holds other files; name a folder that is new or a site's")
    if os.path.lexists(folder) and not folder.is_dir():
        raise UsageError(f"{folder}: is no folder")
    for name in _FOLDERS:  # in which files are removed
        if (folder / name).is_symlink():
            raise UsageError(f"{folder / name}: is a link; a site's folders are its own")


def write_site(
    folder: Path,
    entries: Sequence[Entry],
    title: str,
    done: Callable[[int], None],
    drawing: Drawing | None = None,
) -> None:
    """Write all pages; those of runs that have not changed are left as they are.

    Args:
        done: is told how many of the runs' pages are there by now.
        drawing: what is drawn; None for no pictures.

    Raises:
        UsageError: see :func:`check_folder`; it cannot be written, or a run's records are damaged.
    """
    check_folder(folder)
    ready_folder(folder / MARKER)
    write_json(folder / MARKER, {"ovbench": version("ovbench"), "runs": len(entries)})
    written = {folder / MARKER}

    def put(name: str, text: str) -> None:
        path = folder / name
        written.add(path)
        if path.is_file() and regular(path).read_text(encoding="utf-8", errors="replace") == text:
            return
        ready_folder(path)
        with replacing(path, durable=False) as temporary:
            temporary.write_text(text, encoding="utf-8")

    put("site.css", static("style.css") + pages.static("site.css"))
    put("site.js", static("tables.js") + pages.static("site.js"))
    code = code_of()["ovbench"][:16]
    groups: defaultdict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[group_of(entry)].append(entry)
    count = 0
    for group in groups.values():
        pictured = f"-{digest_of(group, drawing)}" if drawing else ""
        due = []
        for entry in group:
            own = {folder / name for name in _files(entry)}
            written |= own
            made_of = f"{entry.made_of[:16]}-{code}{pictured}"
            if all(path.is_file() for path in own) and _made_of(own, made_of):
                done(count := count + 1)
            else:
                due.append((entry, made_of))
        drawn = draw_group(group, drawing) if drawing and due else {}
        for entry, made_of in due:
            _write_run(entry, made_of, put, drawn.get(entry.key))
            done(count := count + 1)
    for name, text in _around(entries, title).items():
        put(name, text)
    _remove_others(folder, written)


def _around(entries: Sequence[Entry], title: str) -> dict[str, str]:
    """The pages that are of several runs."""
    by_benchmark, by_method = (
        defaultdict[str, list[Entry]](list),
        defaultdict[str, list[Entry]](list),
    )
    for entry in entries:
        by_benchmark[entry.benchmark].append(entry)
        by_method[entry.result["run"]["method"]].append(entry)
    made = {
        f"benchmark/{slug(name)}.html": pages.benchmark_page(name, group)
        for name, group in by_benchmark.items()
    }
    for name, group in by_method.items():
        made[f"method/{slug(name)}.html"] = pages.method_page(name, group)
    made["compare.html"] = pages.compare_page(entries)
    made["index.html"] = pages.overview_page(entries, title)
    return made


def _files(entry: Entry) -> list[str]:
    """What is written of a run: its page, its numbers, and what only records tell."""
    found = [f"run/{entry.key}.html", f"data/{entry.key}.js"]
    if (entry.path / "run.json").is_file():
        same = entry.result["run"]["ids_sha256"][:16]
        found += [f"data/images-{same}.js", f"data/pictures-{entry.key}.js"]
    return found


def _write_run(
    entry: Entry, made_of: str, put: Callable[[str, str], None], drawn: Drawn | None
) -> None:
    """The page last: it says what all are made of."""
    page_name, numbers, *of_records = _files(entry)
    if not of_records:
        put(numbers, run_script(entry, None))
        put(page_name, pages.result_page(entry, made_of))
        return
    images, pictures = of_records
    measured = Measured.read(entry.path)
    if drawn is None:
        drawn = Drawn(read_contents([entry.path], 0), Pictures(missing=_NO_PICTURES))
    put(numbers, run_script(entry, measured))
    put(images, images_script(entry.result["run"]["ids_sha256"][:16], measured))
    put(pictures, pictures_script(entry, drawn))
    put(page_name, page(drawn.contents, drawn.pictures, pages.around(entry, made_of)))


def _made_of(paths: set[Path], made_of: str) -> bool:
    """Whether a run's page says of itself that it is made of this."""
    (path,) = (path for path in paths if path.suffix == ".html")
    text = regular(path).read_text(encoding="utf-8", errors="replace")
    return f'data-made-of="{made_of}"' in text and text.endswith("</html>\n")


def _remove_others(folder: Path, written: set[Path]) -> None:
    """Pages of runs that are no longer given; files of nobody's are left alone."""
    for name in _FOLDERS:
        if (folder / name).is_dir():
            for path in (folder / name).iterdir():
                if path.suffix in (".html", ".js") and path not in written:
                    path.unlink()
