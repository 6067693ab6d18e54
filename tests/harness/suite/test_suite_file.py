"""A suite's file: what it expands to, and what is wrong with it, by line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovbench.errors import UsageError
from ovbench.harness.suite.suite_file import Suite, read_suite


def read(folder: Path, text: str) -> Suite:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return read_suite(path)


def test_a_suite_is_every_combination_in_the_order_of_its_file(tmp_path: Path) -> None:
    suite = read(
        tmp_path,
        """
about: What it is for.
methods: [random, maskclip]
benchmarks: [toyworld, voc20]
names: [default, plain]
seeds: [0, 7]
limit: 5
exclude:
  - {method: maskclip, names: plain}
  - {benchmark: voc20, seed: 7}
""",
    )
    assert (suite.name, suite.about) == ("mine", "What it is for.")
    assert [run.name for run in suite.runs] == [
        "random-toyworld-limit-5",
        "random-toyworld-limit-5-seed-7",
        "random-toyworld-names-plain-limit-5",
        "random-toyworld-names-plain-limit-5-seed-7",
        "random-voc20-limit-5",
        "random-voc20-names-plain-limit-5",
        "maskclip-toyworld-limit-5",
        "maskclip-toyworld-limit-5-seed-7",
        "maskclip-voc20-limit-5",
    ]
    words = suite.runs[3].arguments(tmp_path, Path("data"), "cpu")
    assert words == (
        "run --method random --dataset toyworld --names plain --limit 5 --root data --seed 7 "
        f"--device cpu --output {tmp_path}/random-toyworld-names-plain-limit-5-seed-7"
    ).split(" ")


def test_a_methods_word_goes_before_a_benchmarks_and_that_before_the_suites(
    tmp_path: Path,
) -> None:
    suite = read(
        tmp_path,
        """
methods:
  - maskclip
  - {method: maskclip, limit: 3, set: {prompts: single}, classes: oracle}
benchmarks: [{benchmark: toyworld, limit: 2, root: mine}]
set: {prompts: ensemble, architecture: RN50}
limit: 1
precision: bf16
""",
    )
    plain, own = suite.runs
    assert plain.options == {"limit": "2", "root": f"{tmp_path}/mine", "precision": "bf16"}
    assert plain.settings == {"prompts": "ensemble", "architecture": "RN50"}
    assert own.options == {**plain.options, "limit": "3", "classes": "oracle"}
    assert own.settings == {"prompts": "single", "architecture": "RN50"}
    long = "maskclip-toyworld-classes-oracle-limit-3-precision-bf16-architecture.RN-"
    assert own.name == long + own.name[-8:]
    assert f"--root {tmp_path}/mine" in " ".join(own.arguments(tmp_path, Path("other"), "auto"))


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("methods: [random]\nbenchmarks: [voc\n", 3, "not readable as YAML"),
        ("methods: [random]", 1, "a suite has benchmarks"),
        ("methods: [randm]\nbenchmarks: [voc]", 1, "no method 'randm'; did you mean 'random'?"),
        ("methods: [random]\nbenchmarks:\n  - vox20", 3, "did you mean 'voc20'?"),
        ("methods: [random]\nbenchmarks: [voc]\nlimits: 3", 3, "did you mean 'limit'?"),
        ("methods: [random]\nbenchmarks: [voc]\nlimit: many", 3, "no whole number from 1 up"),
        ("methods: [random]\nbenchmarks: [voc]\nclasses: orcle", 3, "did you mean 'oracle'?"),
        ("methods: [random]\nbenchmarks: [voc]\nseeds: [0, x]", 3, "seeds: 'x' is no whole number"),
        ("methods: [random]\nbenchmarks: [voc]\nseeds: 4294967296", 3, "must be a whole number"),
        ("methods: [random]\nbenchmarks: [voc]\nnames: sclp", 1, "did you mean 'sclip'?"),
        (
            "methods: [random]\nbenchmarks:\n  - dataset: voc",
            3,
            "no 'dataset' in a benchmark's entry; there are: benchmark, ",
        ),
        (
            "methods:\n- random\n- sclip\nbenchmarks: [voc]\npresets: papr",
            2,
            "has no preset 'papr'",
        ),
        ("methods:\n- {method: maskclip, set: {promts: single}}\nbenchmarks: [voc]", 2, "prompts"),
        (
            "methods:\n- {set: {prompts: single}}\nbenchmarks: [voc]",
            2,
            "write `method: NAME` first",
        ),
        ("methods: [random]\nmethods: [sclip]\nbenchmarks: [voc]", 2, "stands here twice"),
        ("methods: &m [random]\nbenchmarks: *m", 2, "without `*`"),
        ("methods: [random, random]\nbenchmarks: [voc]", 1, "random-voc is asked for"),
        (
            "methods: [random]\nbenchmarks: [voc]\nexclude: [{method: sclip}]",
            3,
            "no method 'sclip'",
        ),
        ("methods: [random]\nbenchmarks: [voc]\nexclude: [{method: random}]", 1, "is excluded"),
        ("methods: [random]\nbenchmarks: [voc]\nexclude:\n- {metod: random}", 4, "'method'?"),
        ("methods:\nbenchmarks: [voc]", 1, "methods is empty"),
        (f"methods: [random]\nbenchmarks: [voc]\nlimit: {'9' * 5000}", 3, "is no whole number"),
        (f"methods: [random]\nbenchmarks: [voc]\nseeds: [{'9' * 5000}]", 3, "is no whole number"),
        ("methods: [random]\nbenchmarks: [voc]\nset: 3", 3, "not a text"),
        ("methods: [random]\nbenchmarks: [voc]\nfilter-set: {a: 1}", 1, "classes: predicted"),
        ("- random", 1, "a suite is a mapping of `name: value`, not a list"),
        ("", 1, "not nothing"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, text: str, line: int, said: str
) -> None:
    with pytest.raises(UsageError) as found:
        read(tmp_path, text)
    message = str(found.value)
    assert message.startswith(f"{tmp_path / 'mine.yaml'}:{line}: "), message
    assert said in message
    assert "\n" not in message


def test_what_is_no_file_or_no_text_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("none.yaml", "bytes.yaml", "."):
        with pytest.raises(UsageError):
            read_suite(tmp_path / name)
    deep = tmp_path / "deep.yaml"
    deep.write_text("[" * 5000 + "]" * 5000)
    with pytest.raises(UsageError, match="deep"):
        read_suite(deep)


@settings(max_examples=25, deadline=None)
@given(
    methods=st.lists(st.sampled_from(["random", "constant", "sclip"]), min_size=1, unique=True),
    benchmarks=st.lists(st.sampled_from(["voc20", "voc21", "toyworld"]), min_size=1, unique=True),
    seeds=st.lists(st.integers(0, 99), min_size=1, max_size=3, unique=True),
)
def test_every_combination_has_a_directory_of_its_own(
    tmp_path_factory: pytest.TempPathFactory,
    methods: list[str],
    benchmarks: list[str],
    seeds: list[int],
) -> None:
    text = f"methods: {methods}\nbenchmarks: {benchmarks}\nseeds: {seeds}"
    runs = read(tmp_path_factory.mktemp("suite"), text).runs
    assert len({run.name for run in runs}) == len(methods) * len(benchmarks) * len(seeds)
    # All of one method on one benchmark stand next to each other.
    pairs = [(run.method, run.benchmark) for run in runs]
    assert len(dict.fromkeys(pairs)) == sum(
        a != b for a, b in zip(pairs, [None, *pairs[:-1]], strict=True)
    )


def test_a_file_of_names_lies_beside_the_suite_wherever_it_is_read_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (home / "mine.txt").write_text("cat\ndog\n")
    path = home / "mine.yaml"
    path.write_text("methods: [random]\nbenchmarks: [toyworld]\nnames: mine.txt\n")
    (run,) = read_suite(path).runs
    assert run.name == "random-toyworld-names-mine.txt"
    words = run.arguments(tmp_path, None, "cpu")
    assert words[words.index("--names") + 1] == str(home / "mine.txt")

    (home / "mine.txt").rename(elsewhere / "mine.txt")
    with pytest.raises(UsageError, match=r"mine\.yaml:1: no names 'mine\.txt' of toyworld"):
        read_suite(path)
