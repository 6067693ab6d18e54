"""A suite as a file: methods × benchmarks × names × presets × seeds, and what is left out of it.

::

    about: What the table is for, in a line.
    methods:
      - maskclip
      - method: matcher          # options of one method alone
        prompts: train
        set: {samples: 16}
    benchmarks: [voc20, context59]
    presets: [default, published]
    seeds: [0, 1]
    limit: 100                   # an option of every run
    exclude:
      - {method: matcher, benchmark: context59}

What a method's entry says replaces what a benchmark's says, and that what the suite says; settings
are replaced one by one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Final

from ovbench.datasets import ALIASES
from ovbench.datasets.names.sets import available_sets
from ovbench.errors import UsageError
from ovbench.harness.contract.checks.nearest import nearest
from ovbench.harness.contract.checks.whole import whole_number
from ovbench.harness.contract.runtime import checked_seed
from ovbench.harness.files.home import at_home
from ovbench.harness.registry.glance import refuse_unknown_names
from ovbench.harness.registry.names import DATASETS, METHODS
from ovbench.harness.suite.marked import Marked, read_marked
from ovbench.harness.suite.wanted import Wanted

DEFAULT: Final = "default"
"""In a list of presets or sets of names: the run that names none."""

_AXES = ("presets", "names", "seeds")
_SETTINGS = ("set", "filter-set")
_CHOICES: Mapping[str, Sequence[str]] = {
    "background": ("class", "ignore"),
    "classes": ("all", "oracle", "predicted"),
    "checkpoints": ("auto", "toy", "real"),
    "precision": ("fp32", "bf16", "fp16"),
}
_COUNTS = ("shots", "limit", "batch-size")
_TEXTS = ("split", "variant", "subset", "prompts", "root")
_OPTIONS = (*_AXES, *_SETTINGS, *_CHOICES, *_COUNTS, *_TEXTS)
# What a word of `exclude` is compared with.
_TRAITS: Mapping[str, Callable[[Wanted], str]] = {
    "method": lambda run: run.method,
    "benchmark": lambda run: run.benchmark,
    "preset": lambda run: run.preset or DEFAULT,
    "names": lambda run: run.names or DEFAULT,
    "seed": lambda run: str(run.seed),
}


@dataclass(frozen=True, slots=True)
class Suite:
    """What a file asks for.

    Attributes:
        name: of the file, without its ending.
        about: what it is for; empty where it does not say.
        runs: in the order of the file, all of one method on one benchmark next to each other: what
            is made for the one lies ready for the next.
    """

    name: str
    about: str
    runs: tuple[Wanted, ...]


@dataclass(slots=True)
class _Entry:
    """A method or a benchmark with what is said of it, or what is said of all."""

    name: str
    given: dict[str, Any] = field(default_factory=dict)
    place: str = ""

    def over(self, other: _Entry) -> dict[str, Any]:
        """What is said here, and what the other says besides."""
        both = {**other.given, **self.given}
        for kind in _SETTINGS:
            if kind in both:
                both[kind] = {**other.given.get(kind, {}), **self.given.get(kind, {})}
        return both


def read_suite(path: Path) -> Suite:
    """Read a suite and expand it.

    Raises:
        UsageError: it cannot be read, or asks for what there is not; names the line.
    """
    content = read_marked(path)
    fields = content.fields("a suite", ("about", "methods", "benchmarks", "exclude", *_OPTIONS))
    for needed in ("methods", "benchmarks"):
        if needed not in fields:
            raise content.wrong(f"a suite has {needed}")
    common = _Entry("", _given(fields))
    methods = [_entry(item, "method", _known_method) for item in fields["methods"].items("methods")]
    benchmarks = [
        _entry(item, "benchmark", _known_benchmark)
        for item in fields["benchmarks"].items("benchmarks")
    ]
    runs = [
        run
        for method, benchmark in product(methods, benchmarks)
        for run in _runs(method, benchmark, common, path.parent)
    ]
    if "exclude" in fields:
        runs = _without(runs, fields["exclude"].items("exclude"))
    if not runs:
        raise content.wrong("everything is excluded")
    _refuse_twice(runs)
    about = fields["about"].text("about") if "about" in fields else ""
    return Suite(path.stem, about, tuple(runs))


def _entry(item: Marked, kind: str, check: Callable[[Marked], str]) -> _Entry:
    if isinstance(item.value, str):
        return _Entry(check(item), place=item.place)
    fields = item.fields(f"a {kind}'s entry", (kind, *_OPTIONS))
    if kind not in fields:
        raise item.wrong(f"write `{kind}: NAME` first")
    return _Entry(check(fields[kind]), _given(fields), fields[kind].place)


def _given(fields: Mapping[str, Marked]) -> dict[str, Any]:
    """The options among fields, each as what it becomes."""
    found: dict[str, Any] = {}
    for option, value in fields.items():
        if option in _AXES:
            items = [(one.text(option), one) for one in value.items(option)]
            found[option] = [_seed(*one) for one in items] if option == "seeds" else [*dict(items)]
        elif option in _SETTINGS:
            found[option] = {name: _setting(one) for name, one in value.fields(option).items()}
        elif option in _CHOICES and (text := value.text(option)) not in _CHOICES[option]:
            raise value.wrong(f"{option}: {text!r}; {nearest(text, _CHOICES[option])}")
        elif option in _COUNTS:
            text = value.text(option)
            if not whole_number(text):
                raise value.wrong(f"{option}: {text[:40]!r} is no whole number from 1 up")
            found[option] = text
        elif option in (*_CHOICES, *_TEXTS):
            found[option] = value.text(option)
    return found


def _seed(text: str, place: Marked) -> int:
    if (seed := whole_number(text)) is None:
        raise place.wrong(f"seeds: {text[:40]!r} is no whole number")
    try:
        return checked_seed(seed)
    except UsageError as error:
        raise place.wrong(str(error)) from None


def _setting(value: Marked) -> str:
    """As ``--set`` takes it: the parts of a list between commas."""
    if isinstance(value.value, list):
        return ",".join(one.text("a part of a setting") for one in value.value)
    return value.text("a setting")


def _known_method(item: Marked) -> str:
    name = item.text("a method")
    try:
        METHODS.entry(name)
    except UsageError as error:
        raise item.wrong(str(error)) from None
    return name


def _known_benchmark(item: Marked) -> str:
    name = item.text("a benchmark")
    if name not in (names := [*DATASETS.entries, *ALIASES]):
        raise item.wrong(f"no dataset {name!r}; {nearest(name, names)}")
    return name


def _runs(method: _Entry, benchmark: _Entry, common: _Entry, folder: Path) -> Iterator[Wanted]:
    said = _Entry("", method.over(_Entry("", benchmark.over(common))))
    given = said.given
    options = {name: v for name, v in given.items() if name not in (*_AXES, *_SETTINGS)}
    if "root" in options:  # as seen from the suite's own folder, like files of names
        options["root"] = str(folder / at_home(options["root"]))
    settings = given.get("set", {})
    # What one run makes, such as pictures of classes, is of its names first.
    for names, preset, seed in product(
        given.get("names", [DEFAULT]), given.get("presets", [DEFAULT]), given.get("seeds", [0])
    ):
        run = Wanted(
            method.name,
            benchmark.name,
            None if preset == DEFAULT else preset,
            None if names == DEFAULT else names,
            seed,
            options,
            settings,
            given.get("filter-set", {}),
            _names_file(names, benchmark.name, folder),
            method.place,
        )
        _refuse_unknown(run)
        yield run


def _names_file(names: str, benchmark: str, folder: Path) -> str | None:
    """The file of class names that is meant, which a suite names as seen from its own folder."""
    file = folder / Path(names)
    known = names == DEFAULT or names in _sets(benchmark)
    return str(file) if not known and os.path.exists(file) else None


def _sets(benchmark: str) -> Collection[str]:
    return available_sets(ALIASES.get(benchmark, (benchmark,))[0])


def _refuse_unknown(run: Wanted) -> None:
    try:
        refuse_unknown_names(run.method, run.preset, run.settings)
    except UsageError as error:
        raise UsageError(f"{run.place}: {error}") from None
    if run.filter_settings and run.options.get("classes") != "predicted":
        raise UsageError(f"{run.place}: filter-set goes with `classes: predicted` only")
    sets = _sets(run.benchmark)
    if run.names and run.names not in sets and not run.names_file:
        hint = nearest(run.names, sets) if sets else "a file is looked for beside the suite's"
        raise UsageError(f"{run.place}: no names {run.names!r} of {run.benchmark}; {hint}")


def _without(runs: Sequence[Wanted], exclude: Sequence[Marked]) -> list[Wanted]:
    left = list(runs)
    for item in exclude:
        asked = {
            trait: [one.text(trait) for one in value.items(trait)]
            for trait, value in item.fields("exclude", _TRAITS).items()
        }
        for trait, words in asked.items():
            there = [*dict.fromkeys(_TRAITS[trait](run) for run in runs)]
            for word in words:
                if word not in there:
                    raise item.wrong(f"exclude: no {trait} {word!r} here; {nearest(word, there)}")
        kept = [
            run
            for run in left
            if not all(_TRAITS[trait](run) in words for trait, words in asked.items())
        ]
        if len(kept) == len(left):
            raise item.wrong("exclude: there is no such run, or it is excluded above")
        left = kept
    return left


def _refuse_twice(runs: Sequence[Wanted]) -> None:
    seen: dict[str, Wanted] = {}
    for run in runs:
        other = seen.setdefault(run.name.lower(), run)  # some file systems take them for one
        if other is not run:
            raise UsageError(
                f"{run.place}: {run.name} is asked for at {other.place}, too; exclude one of them"
            )
