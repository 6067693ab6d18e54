"""What is reported, as Markdown: a page per benchmark, and one that leads to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ovbench.leaderboards.formats.markdown import escaped
from ovbench.leaderboards.reported.benchmarks import Benchmark, benchmarks
from ovbench.leaderboards.reported.evidence import conflicts, figure_notes, repeated
from ovbench.leaderboards.reported.published import (
    KINDS,
    ONE_CLASS,
    Figure,
    cite,
    figures,
    marks,
    sources,
    systems,
)

INDEX = "README"
OUTSIDE = "outside"
BACKGROUND = {
    "class": "background is a class",
    "ignore": "background is ignored",
    "none": "there is no background",
}
BY_KIND = {"picture": "read by eye", "thread": "thread", "listing": "unchecked"}

HEAD = """\
What papers, READMEs and threads print, in percent, for comparison with measurements of one's own.
It was measured by many hands under conditions that they state in part: names, background rule and
resolution differ from row to row and move results by more than the methods do. The highest stands
first; a row is not a rank. A figure that others repeat has one row."""


def page_names() -> Sequence[str]:
    """The pages beside the index: datasets, then what is outside of them."""
    named = dict.fromkeys(b.dataset for b in benchmarks().values() if b.dataset)
    return [*named, OUTSIDE]


def reported_page(name: str) -> str:
    """The index, or the page of a dataset; always the same text."""
    return (_index() if name == INDEX else _page(name)) + "\n"


def _index() -> str:
    counts = (
        f"{len(figures())} figures, {len(repeated())} of them repeat one of another source; "
        f"{len(conflicts())} times sources print different figures for one system under the same "
        "conditions, which the pages' footnotes tell."
    )
    contents = [_contents(name) for name in page_names()]
    return "\n\n".join(
        [
            f"# What is reported\n\n{HEAD} {counts}",
            _table("page|figures|repeats|benchmarks", contents, "l r r l"),
            "## Sources",
            _table("printed in|title|what was read|figures|repeats", _source_rows(), "l l l r r"),
            "## Systems",
            _table("system|its paper|to know", _system_rows(), "l l l"),
        ]
    )


def _contents(name: str) -> Sequence[str]:
    own = [f for f in figures() if page_of(f) == name]
    shown = ", ".join(escaped(b) for b in benchmarks() if any(f.dataset == b for f in own))
    return [f"[{name}]({name}.md)", *_counts(own), shown]


def _source_rows() -> Sequence[Sequence[str]]:
    made = []
    for source in sources().values():
        own = [f for f in figures() if f.source == source.key]
        title = escaped(source.title)
        if source.arxiv:
            title += f" ([arXiv:{source.arxiv}](https://arxiv.org/abs/{source.arxiv}))"
        kind = KINDS[source.kind]
        link = f"[{kind}]({source.link})" if source.link else kind
        made.append([escaped(source.name), title, link, *_counts(own)])
    return made


def _system_rows() -> Sequence[Sequence[str]]:
    return [
        [escaped(s.name), escaped(f"{s.authors}, {s.venue}"), escaped(s.note)]
        for s in systems().values()
    ]


def _counts(some: Sequence[Figure]) -> Sequence[str]:
    return [str(len(some)), str(sum(figure in repeated() for figure in some))]


def _page(name: str) -> str:
    order = {printed: place for place, printed in enumerate(benchmarks())}
    own = [f for f in figures() if page_of(f) == name]
    tables = sorted(
        {(f.dataset, _heading(f)) for f in own}, key=lambda t: (t[1] != "mIoU", order[t[0]], t[1])
    )
    title = "Reported on what is not a benchmark here" if name == OUTSIDE else f"Reported: {name}"
    notes: list[str] = []
    parts = [f"# {title}", f"{HEAD} [All pages, sources and systems]({INDEX}.md)."]
    for dataset, heading in tables:
        some = [f for f in own if (f.dataset, _heading(f)) == (dataset, heading)]
        parts += _section(benchmarks()[dataset], heading, some, notes)
    parts.append("\n".join(f"<sup>{n}</sup> {escaped(note)}  " for n, note in enumerate(notes, 1)))
    parts += _legend(own)
    links = {f.source for f in own if sources()[f.source].link}
    parts.append("\n".join(f"[{k}]: {s.link}" for k, s in sources().items() if k in links))
    return "\n\n".join(part for part in parts if part)


def _section(
    benchmark: Benchmark, heading: str, some: Sequence[Figure], notes: list[str]
) -> Sequence[str]:
    origins = [figure for figure in some if figure not in repeated()]
    origins.sort(key=lambda figure: -figure.value)  # equal ones stay in the sources' order
    rows = [_row(figure, notes) for figure in origins]
    return [
        f"## {escaped(benchmark.printed)}, {heading}",
        _words(benchmark),
        _table(f"{heading}|system|with|conditions|printed in", rows, "r l l l l"),
    ]


def _heading(figure: Figure) -> str:
    """Of the table it stands in: classes share one."""
    return "IoU of classes" if figure.metric.startswith(ONE_CLASS) else figure.metric


def _words(benchmark: Benchmark) -> str:
    if benchmark.outside:
        return f"Not measured here: {benchmark.outside}."
    subset = f" of the subset `{benchmark.subset}`" if benchmark.subset else ""
    return (
        f"`{benchmark.dataset}`, split `{benchmark.split}`{subset}: "
        f"**{BACKGROUND[benchmark.background]}**."
    )


def _row(figure: Figure, notes: list[str]) -> Sequence[str]:
    told = figure_notes(figure)
    notes += [note for note in told if note not in notes]
    numbers = ",".join(str(notes.index(note) + 1) for note in told)
    repeats = [other for other, origin in repeated().items() if origin == figure]
    printed = [_linked(figure, cite(figure))]
    if repeats:
        printed.append(
            f"repeated by {', '.join(_linked(f, sources()[f.source].name) for f in repeats)}"
        )
    return [
        escaped(figure.printed),
        escaped(figure.method) + (f" <sup>{numbers}</sup>" if numbers else ""),
        escaped("; ".join(_details(figure))),
        ", ".join(_conditions(figure)),
        "; ".join(printed),
    ]


def _details(figure: Figure) -> Sequence[str]:
    scored = figure.metric.removeprefix(ONE_CLASS)
    return [*([scored] if scored != figure.metric else []), *figure.details]


def _conditions(figure: Figure) -> Sequence[str]:
    kind = BY_KIND.get(sources()[figure.source].kind)
    return [*(marks()[mark].short for mark in figure.marks), *([kind] if kind else [])]


def _linked(figure: Figure, words: str) -> str:
    source = sources()[figure.source]
    return f"[{escaped(words)}][{source.key}]" if source.link else escaped(words)


def _legend(own: Sequence[Figure]) -> Sequence[str]:
    used = Counter(mark for figure in own for mark in figure.marks)
    kinds = {sources()[figure.source].kind for figure in own}
    rows = [[m.short, m.meaning] for m in marks().values() if m.name in used]
    rows += [[BY_KIND[kind], KINDS[kind]] for kind in KINDS if kind in kinds and kind in BY_KIND]
    return ["## Conditions", _table("condition|what it means", rows, "l l")] if rows else []


def page_of(figure: Figure) -> str:
    return benchmarks()[figure.dataset].dataset or OUTSIDE


def _table(head: str, rows: Sequence[Sequence[str]], align: str) -> str:
    rules = {"l": "---", "r": "---:"}
    lines = [head.split("|"), [rules[a] for a in align.split()], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
