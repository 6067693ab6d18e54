from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovbench.datasets.names import available_sets, read_vocabulary
from ovbench.datasets.names.lines import names_between, parsed_lines
from ovbench.errors import UsageError
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Vocabulary


def voc(names: str | Path | None = None, background: bool = True) -> Vocabulary:
    return read_vocabulary("voc", names, num_classes=20, background=background)


def test_the_packaged_sets_are_found() -> None:
    assert available_sets("voc") == [
        "catseg", "clearclip", "clip_dinoiser", "clip_diy", "clippy", "corrclip", "corrclip_v2",
        "groupvit", "lposs", "maskclip", "naclip", "ovdiff", "plain", "pnp_ovss", "proxyclip",
        "sclip", "segearth", "sfp", "simseg",
    ]  # fmt: skip
    assert available_sets("toyworld") == available_sets("toyworld_stuff") == ["plain"]
    assert available_sets("nowhere") == []


def test_the_default_is_the_plain_set() -> None:
    assert voc() == voc("plain")
    assert voc().names == (
        "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat",
        "chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant",
        "sheep", "sofa", "train", "tvmonitor",
    )  # fmt: skip


def test_the_extended_set_has_the_56_queries_of_sclip() -> None:
    vocabulary = voc("sclip")
    assert vocabulary.background is not None
    assert len(vocabulary.background.queries) == 26
    assert sum(len(c.queries) for c in vocabulary.classes) == 30
    assert len(vocabulary.queries) == 56
    assert vocabulary.classes[3].name == "ship"
    assert vocabulary.classes[10].name == "table"
    assert len(vocabulary.classes[14].queries) == 7
    assert len(vocabulary.classes[19].queries) == 5


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("pnp_ovss", {"table"}),
        ("maskclip", {"airplane", "dining table", "potted plant", "tv monitor"}),
    ],
)
def test_where_the_sets_of_papers_differ_from_the_plain_one(name: str, changed: set[str]) -> None:
    assert set(voc(name).names) - set(voc().names) == changed


def test_only_queries_make_the_digest(tmp_path: Path) -> None:
    plain = voc()
    same = tmp_path / "cls_voc21.txt"
    same.write_text("\n\n# mine\n" + "\r\n".join(plain.names) + "\n")
    assert voc(same).sha256 == plain.sha256
    assert voc(same).source == same.name
    assert voc("pnp_ovss").sha256 != plain.sha256
    assert voc(background=False).sha256 != plain.sha256


def test_a_file_without_a_background_line(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("\n".join(f"class {i}; synonym {i}, other {i}" for i in range(20)))
    vocabulary = voc(path)
    assert vocabulary.background is not None
    assert vocabulary.background.queries == ("background",)
    assert vocabulary.classes[4].queries == ("class 4", "synonym 4", "other 4")
    assert voc(path, background=False).classes == vocabulary.classes


def test_the_background_line_is_dropped_where_background_is_no_label() -> None:
    with_background, without = voc("sclip"), voc("sclip", background=False)
    assert without.background is None
    assert without.classes == with_background.classes


def test_a_file_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("\n".join(voc().names), encoding="utf-8-sig")
    assert voc(path).sha256 == voc().sha256


MANY = b"".join(b"class %d\n" % i for i in range(18))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cat\ndog\n", "{}: 2 classes; voc has 20, or 21"),
        (b"", "{}: 0 classes; voc has 20"),
        (b"\n".join(b"class %d" % i for i in range(22)), "{}: 22 classes; voc has 20, or 21"),
        (b"# mine\n" + b"cat\n" * 20, "{}, line 3: 'cat' is already line 2"),
        (b"dog\ncat,,kitten\n", "{}, line 2: an empty name"),
        (b"dog\ncat;\n", "{}, line 2: an empty name"),
        (b"dog\ncat\nc\xe4t\n", "{}, line 3: not UTF-8"),
        (b"dog\n= cat\n", "{}, line 2: an empty name"),
        (b'dog\n"", cat\n', "{}, line 2: an empty name"),
        (b'dog\ncat, "tom, jerry\n', '{}, line 2: "tom begins with a quotation mark and does'),
        (b'dog\n"tom" jerry, cat\n', '{}, line 2: "tom" jerry begins with a quotation mark'),
        (b'dog\n"\n', '{}, line 2: " begins with a quotation mark'),
        (b"cat\n" + MANY + b"CAT\n", "{}, line 20: 'CAT' is already line 1"),
        (b"Background\n" + MANY + b"cat\n", "{}, line 1: 'Background' is already the background"),
        (
            b"cat, kitten\n" + MANY + b"Kitten\n",
            "{}, line 20: 'Kitten' already stands for 'cat' (line 1); a text can stand for one",
        ),
        (b"cat = x\n" + MANY + b"cat\n", "{}, line 20: 'cat' is already line 1"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=re.escape(message.format(path))) as caught:
        voc(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("sclp", "neither a file nor a set of names of voc; did you mean 'sclip'?"),
        (
            "x",
            "x: neither a file nor a set of names of voc; there are: catseg, clearclip, clip_",
        ),
        (".", "cannot be read"),
    ],
)
def test_an_unknown_set_gets_a_suggestion(names: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        voc(names)


def test_kinds_are_kept() -> None:
    vocabulary = read_vocabulary(
        "toyworld", None, num_classes=10, background=True, kinds=["thing"] * 10
    )
    assert {c.kind for c in vocabulary.classes} == {"thing"}
    assert {c.kind for c in voc().classes} == {None}


def test_a_class_may_have_a_name_of_its_own_for_tables(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(b"screen door = door, gate\n" + MANY + b"screen\n")
    vocabulary = voc(path)
    assert vocabulary.names[1] == "screen door"
    assert vocabulary.classes[0].queries == ("door", "gate")
    assert "screen door" not in dict(vocabulary.queries)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Vocabulary.of("cat", "Cat"), "custom: label 1: 'Cat' is already label 0"),
        (lambda: Vocabulary.of("cat", "cat "), "'cat ' is already label 0"),
        (lambda: Vocabulary.of("cat", " "), "label 1: an empty name"),
        (lambda: Vocabulary((ClassQuery("cat", ("",)),)), "label 0: an empty name"),
        (
            lambda: Vocabulary.of("cat", "Background", background=True),
            "label 2: 'Background' is already label 0",
        ),
        (
            lambda: Vocabulary((ClassQuery("cat", ("kitten",)), ClassQuery("kitten"))),
            "label 1: 'kitten' already stands for 'cat' (label 0)",
        ),
        (
            lambda: Vocabulary((ClassQuery("cat", ("pet",)), ClassQuery("dog", ("pet",)))),
            "label 1: 'pet' already stands for 'cat' (label 0)",
        ),
    ],
)
def test_twins_from_python(build: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        build()
    assert "\n" not in str(caught.value)


def test_the_background_may_be_described_by_a_class() -> None:
    Vocabulary((ClassQuery("bed"),), Background(("sky", "bed")))


def test_an_equals_sign_without_blanks_is_part_of_a_name(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(b"=1+1\na=b\n" + MANY)
    assert voc(path).names[:3] == ("background", "=1+1", "a=b")


@pytest.mark.parametrize(
    ("line", "title", "queries"),
    [
        ('"people, person"', None, ("people, person",)),
        ('man; "people, person" ;"a = b"', None, ("man", "people, person", "a = b")),
        ('people = "people, person", crowd', "people", ("people, person", "crowd")),
        ('"people, person" = person', "people, person", ("person",)),
        ('"a = b", c', None, ("a = b", "c")),
        ('12" disc, 7" disc', None, ('12" disc', '7" disc')),
        ('the "thing", other', None, ('the "thing"', "other")),
        ('" cat "', None, ("cat",)),
    ],
)
def test_what_stands_in_quotation_marks_is_one_text(
    line: str, title: str | None, queries: tuple[str, ...]
) -> None:
    (parsed,) = parsed_lines(line, "here")
    assert (parsed.title, parsed.queries) == (title, queries)
    assert parsed.name == (title or queries[0])


CHARACTERS = st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters='"')


@given(
    st.lists(st.text(CHARACTERS, min_size=1), min_size=1),
    st.sampled_from([",", ", ", ";", " ; "]),
)
def test_every_text_can_be_written(texts: list[str], separator: str) -> None:
    line = separator.join(f'"{text}"' for text in texts)
    assert names_between(line, "here") == texts
    (parsed,) = parsed_lines(line, "here")
    assert (parsed.title, parsed.queries) == (None, tuple(texts))
