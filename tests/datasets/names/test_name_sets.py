"""The packaged sets of class names: they fit their benchmarks and stay what they are."""

from __future__ import annotations

from collections import defaultdict
from importlib.resources import files
from itertools import product
from pathlib import Path

import pytest

from ovbench.datasets.names import read_vocabulary
from ovbench.datasets.names.sets import EQUAL, available_sets, describe_set
from ovbench.harness.registry.names import DATASETS

# Classes, and whether the benchmark has a background.
SIZES = {
    "voc": (20, True), "context": (59, True), "cocoobject": (80, True), "cocostuff": (171, False),
    "ade20k": (150, False), "cityscapes": (19, False), "coco20i": (80, True),
    "fss1000": (240, True), "toyworld": (10, True), "toyworld_stuff": (15, False),
}  # fmt: skip
SETS = [(benchmark, name) for benchmark in SIZES for name in available_sets(benchmark)]

# Texts that stand for two labels: a method's answer to them is a matter of chance. They are
# published like this.
SHARED = {
    ("cocoobject", "sclip"): {"bed"},
    ("cocoobject", "naclip"): {"bed"},
    ("cocoobject", "sfp"): {"bed"},
    ("cocoobject", "lposs"): {"bed"},
    ("cocoobject", "proxyclip"): {"bed"},
    ("ade20k", "objectinfo"): {"ground", "pot", "counter", "screen", "stool"},
    ("ade20k", "pnp_ovss"): {"screen"},
    ("ade20k", "lseg"): {"screen"},
}

# Of every text in order: a changed set is another vocabulary and needs another name. Those of the
# families below were computed from the files of the released code, divided as that code does it.
DIGESTS = {
    ("voc", "catseg"): "8bbd2259bef8",
    ("voc", "clip_diy"): "efbd2ce60d96",
    ("voc", "clip_dinoiser"): "c729150ae1c9",
    ("voc", "clippy"): "4f5d40e001fb",
    ("voc", "groupvit"): "a6db49cf85d2",
    ("voc", "lposs"): "1de4162017d5",
    ("voc", "maskclip"): "6a0fa93b9a55",
    ("voc", "ovdiff"): "301c4bef2deb",
    ("voc", "plain"): "e0ee00713bf8",
    ("voc", "pnp_ovss"): "70ca242a4d99",
    ("voc", "simseg"): "a6db49cf85d2",
    ("context", "catseg"): "4d7c1443b599",
    ("context", "floss"): "6896112f5ce1",
    ("context", "groupvit"): "c14e5335a881",
    ("context", "maskclip"): "c288460dd0dd",
    ("context", "plain"): "687108093be7",
    ("context", "pnp_ovss"): "687108093be7",
    ("context", "simseg"): "687108093be7",
    ("cocoobject", "clip_diy"): "85cab36bd14c",
    ("cocoobject", "clip_dinoiser"): "818b7832cbae",
    ("cocoobject", "groupvit"): "85cab36bd14c",
    ("cocoobject", "lposs"): "30d7acddc8e2",
    ("cocoobject", "plain"): "85cab36bd14c",
    ("cocoobject", "pnp_ovss"): "877b3f596ca8",
    ("cocoobject", "simseg"): "85cab36bd14c",
    ("cocostuff", "reco"): "c1cdaea1a840",
    ("cocostuff", "maskclip"): "48cfc0c21a7f",
    ("cocostuff", "plain"): "e37d5597ce46",
    ("cocostuff", "pnp_ovss"): "a76c015aba2f",
    ("ade20k", "catseg"): "232b7b1aae2c",
    ("ade20k", "lseg"): "20e65516d080",
    ("ade20k", "objectinfo"): "baafdc620a89",
    ("ade20k", "ovdiff"): "c0f44251f347",
    ("ade20k", "pnp_ovss"): "373d5da294be",
    ("ade20k", "plain"): "232b7b1aae2c",
    ("cityscapes", "plain"): "b6f06e3be83d",
    ("coco20i", "plain"): "85cab36bd14c",
    ("fss1000", "plain"): "85ba40a68bea",
    ("toyworld", "plain"): "38e14a299d95",
    ("toyworld_stuff", "plain"): "68b44595eb4e",
}
# The same of the files of a family: cls_voc21, cls_voc20, cls_context60, cls_context59,
# cls_coco_object, cls_coco_stuff, cls_ade20k, cls_city_scapes.
FILES = (
    ("voc", True), ("voc", False), ("context", True), ("context", False), ("cocoobject", True),
    ("cocostuff", False), ("ade20k", False), ("cityscapes", False),
)  # fmt: skip
FAMILIES = {
    "sclip": "8606241b3633 7712ed5e7a2e 687108093be7 54bc032af7a6 a4ee156381f7 d797e3753a10 "
    "b63a03990f1c 68505c7bd79d",
    "naclip": "8606241b3633 7712ed5e7a2e 687108093be7 54bc032af7a6 a4ee156381f7 d797e3753a10 "
    "b63a03990f1c 68505c7bd79d",
    "sfp": "ff92e52f0e79 8468eca19a46 687108093be7 54bc032af7a6 a4ee156381f7 d797e3753a10 "
    "b63a03990f1c 14fdb40deef3",
    "proxyclip": "e1cf1885e3db f10bbbe19ecb 687108093be7 54bc032af7a6 1031a03f9a7c d797e3753a10 "
    "b63a03990f1c 68505c7bd79d",
    "clearclip": "f0e65aac7ef4 f10bbbe19ecb 687108093be7 54bc032af7a6 85cab36bd14c d797e3753a10 "
    "b63a03990f1c 68505c7bd79d",
    "corrclip": "f2d9be0384f6 aaeaff1eb44e affb4db02b54 60eb27d3ada9 baa99be9c3f9 86801a2f083c "
    "17dc7de92081 14fdb40deef3",
    "corrclip_v2": "f2d9be0384f6 aaeaff1eb44e affb4db02b54 60eb27d3ada9 baa99be9c3f9 86801a2f083c "
    "17dc7de92081 839384a47566",
    "segearth": "f0e65aac7ef4 b5b5e0216741 687108093be7 54bc032af7a6 85cab36bd14c d797e3753a10 "
    "b63a03990f1c 8df9ce3b748c",
}


def test_every_benchmark_has_its_names() -> None:
    without = {"folder", "perseg", "colour_patches"}  # their folders name their classes
    assert set(SIZES) == {*DATASETS.entries} - without
    assert all("plain" in available_sets(benchmark) for benchmark in SIZES)
    for benchmark in ("voc", "context", "cocoobject", "cocostuff", "ade20k", "cityscapes"):
        assert set(FAMILIES) <= set(available_sets(benchmark))


@pytest.mark.parametrize(("benchmark", "name"), SETS)
def test_a_set_fits_its_benchmark(benchmark: str, name: str) -> None:
    count, background = SIZES[benchmark]
    vocabulary = read_vocabulary(benchmark, name, num_classes=count, background=background)
    assert len(vocabulary.classes) == count
    kept = next((kept for kept, same in EQUAL.get(benchmark, {}).items() if name in same), name)
    assert vocabulary.source == f"{benchmark}/{kept}"
    without = read_vocabulary(benchmark, name, num_classes=count, background=False)
    same = without.names == vocabulary.names[vocabulary.offset :]
    assert same or (benchmark, name) == ("voc", "segearth")
    queries, source = describe_set(benchmark, name)
    assert queries == len(vocabulary.queries)
    assert len(source) > 20


@pytest.mark.parametrize(("benchmark", "name"), SETS)
def test_a_text_stands_for_one_label(benchmark: str, name: str) -> None:
    count, background = SIZES[benchmark]
    labels = defaultdict(set)
    for text, label in read_vocabulary(
        benchmark, name, num_classes=count, background=background
    ).queries:
        assert text == " ".join(text.split())
        labels[text].add(label)
    shared = {text for text, found in labels.items() if len(found) > 1}
    assert shared == SHARED.get((benchmark, name), set())


@pytest.mark.parametrize(("benchmark", "name"), SETS)
def test_a_set_stays_what_it_is(benchmark: str, name: str) -> None:
    count, background = SIZES[benchmark]
    vocabulary = read_vocabulary(benchmark, name, num_classes=count, background=background)
    if name in FAMILIES:
        digests = dict(zip(FILES, FAMILIES[name].split(), strict=True))
        assert vocabulary.sha256[:12] == digests[benchmark, background]
        if background and (benchmark, False) in digests:
            without = read_vocabulary(benchmark, name, num_classes=count, background=False)
            assert without.sha256[:12] == digests[benchmark, False]
    else:
        assert vocabulary.sha256[:12] == DIGESTS[benchmark, name]


@pytest.mark.parametrize("benchmark", SIZES)
def test_no_set_has_a_second_file(benchmark: str) -> None:
    """One that equals another is asked for by its name and recorded as the other."""
    count, background = SIZES[benchmark]
    found = [
        read_vocabulary(benchmark, name, num_classes=count, background=background)
        for name in available_sets(benchmark)
    ]
    for one, other in product(found, found):
        assert (one.sha256 == other.sha256) == (one.source == other.source)


@pytest.mark.parametrize("rule", [True, False])
@pytest.mark.parametrize("benchmark", ["voc", "context", "cocoobject", "cityscapes"])
def test_a_set_knows_all_its_names(benchmark: str, rule: bool) -> None:
    count, background = SIZES[benchmark]
    found = {
        name: read_vocabulary(benchmark, name, num_classes=count, background=background and rule)
        for name in available_sets(benchmark)
    }
    for name, one in found.items():
        assert name in one.known_as
        assert one.source == f"{benchmark}/{one.known_as[0]}"
        assert {found[other].sha256 for other in one.known_as} == {one.sha256}


def test_an_equal_set_says_so() -> None:
    queries, source = describe_set("ade20k", "proxyclip")
    assert queries == 150
    assert source == (
        "The names of ProxyCLIP's evaluation (configs/cls_*.txt of its code, e7b767f): "
        "equal to sclip."
    )


def names_of(benchmark: str, name: str = "plain") -> tuple[str, ...]:
    count = SIZES[benchmark][0]
    return read_vocabulary(benchmark, name, num_classes=count, background=False).names


def test_ovdiffs_names_of_ade20k_are_plain_but_for_six() -> None:
    differing = {
        plain: own
        for plain, own in zip(names_of("ade20k"), names_of("ade20k", "ovdiff"), strict=True)
        if plain != own
    }
    assert differing == {
        "case": "shop case", "blind": "window blinds", "apparel": "clothing",
        "tank": "liquid tank", "hood": "cooker hood", "ashcan": "wastebin",
    }  # fmt: skip


def test_pnp_ovss_asks_for_two_classes_of_ade20k_by_one_text() -> None:
    vocabulary = read_vocabulary("ade20k", "pnp_ovss", num_classes=150, background=False)
    twins = {query.name for query in vocabulary.classes if query.title}
    assert twins == {"screen"}
    labels = [label for text, label in vocabulary.queries if text == "screen"]
    assert [names_of("ade20k")[label] for label in labels] == ["screen door", "screen"]
    assert [vocabulary.names[label] for label in labels] == ["screen door", "screen"]
    assert not any(" " in text for text, _ in vocabulary.queries)


def queries_of(benchmark: str, name: str, background: bool) -> tuple[tuple[str, ...], ...]:
    count = SIZES[benchmark][0]
    vocabulary = read_vocabulary(benchmark, name, num_classes=count, background=background)
    behind = () if vocabulary.background is None else (vocabulary.background.queries,)
    return (*behind, *(query.queries for query in vocabulary.classes))


@pytest.mark.parametrize(
    ("name", "voc", "cocoobject"),
    [
        ("sclip", 26, 26), ("naclip", 26, 26), ("sfp", 26, 26), ("proxyclip", 26, 17),
        ("corrclip", 26, 16), ("corrclip_v2", 26, 16), ("clearclip", 1, 1), ("segearth", 1, 1),
    ],
)  # fmt: skip
def test_only_voc_and_cocoobject_have_the_long_background(
    name: str, voc: int, cocoobject: int
) -> None:
    for benchmark, count in (("voc", voc), ("cocoobject", cocoobject), ("context", 1)):
        assert len(queries_of(benchmark, name, True)[0]) == count


@pytest.mark.parametrize(
    ("name", "other", "benchmark"),
    [
        ("corrclip", "proxyclip", "voc"), ("corrclip", "proxyclip", "context"),
        ("corrclip", "proxyclip", "cocoobject"), ("corrclip", "proxyclip", "cocostuff"),
        ("corrclip", "proxyclip", "ade20k"), ("corrclip", "proxyclip", "cityscapes"),
        ("sfp", "sclip", "voc"), ("sfp", "sclip", "cityscapes"),
    ],
)  # fmt: skip
def test_one_asks_for_people_where_the_other_asks_for_a_person(
    name: str, other: str, benchmark: str
) -> None:
    one, another = queries_of(benchmark, name, False), queries_of(benchmark, other, False)
    ((people, person),) = ((a, b) for a, b in zip(one, another, strict=True) if a != b)
    assert people == tuple(text.replace("person", "people") for text in person)
    assert person[0] == "person"


def test_segearth_has_synonyms_where_voc_has_no_background() -> None:
    with_background, without = (queries_of("voc", "segearth", rule) for rule in (True, False))
    assert all(len(queries) == 1 for queries in with_background)
    differing = [a for a, b in zip(without, with_background[1:], strict=True) if a != b]
    assert [queries[:2] for queries in differing] == [
        ("boat", "ship"), ("table", "diningtable"), ("television monitor", "tv monitor"),
    ]  # fmt: skip
    assert "with synonyms" in describe_set("voc", "segearth")[1]


def test_one_text_of_corrclip_holds_a_comma() -> None:
    ((text,),) = set(queries_of("cityscapes", "corrclip_v2", False)) - set(
        queries_of("cityscapes", "sclip", False)
    )
    assert text == "people, person"


def test_the_orders_agree() -> None:
    assert list(names_of("context")) == sorted(names_of("context"))
    assert names_of("cocoobject") == names_of("cocostuff")[:80] == names_of("coco20i")
    assert list(names_of("cocostuff")[80:]) == sorted(names_of("cocostuff")[80:])
    assert names_of("cityscapes")[:3] == ("road", "sidewalk", "building")
    assert names_of("cityscapes")[-1] == "bicycle"
    assert list(names_of("voc")) == sorted(names_of("voc"))


def test_ade20k_is_in_the_order_of_its_table(sample_data: Path) -> None:
    table = sample_data / "ade20k" / "ADEChallengeData2016" / "objectInfo150.txt"
    rows = [line.split("\t")[-1] for line in table.read_text().splitlines()[1:]]
    listing = read_vocabulary("ade20k", "objectinfo", num_classes=150, background=False)
    for name, row, listed in zip(names_of("ade20k"), rows, listing.classes, strict=True):
        synonyms = tuple(part.strip() for part in row.split(","))
        assert name in synonyms
        assert listed.queries == synonyms


def test_the_sets_differ_as_they_say() -> None:
    def blanks_removed(benchmark: str) -> tuple[str, ...]:
        return tuple(name.replace(" ", "") for name in names_of(benchmark))

    for benchmark in ("cocostuff", "ade20k", "cityscapes"):
        assert names_of(benchmark, "sclip") == blanks_removed(benchmark)
    assert names_of("cocoobject", "pnp_ovss") == blanks_removed("cocoobject")
    assert "wallbrick" in names_of("cocostuff", "pnp_ovss")
    assert "brick wall" in names_of("cocostuff", "maskclip")
    assert not any("-" in name for name in names_of("cocostuff", "maskclip"))


def test_every_file_says_where_it_is_from() -> None:
    for path in (Path(str(files("ovbench.datasets"))) / "names").rglob("*.txt"):
        text = path.read_text("utf-8")
        assert text.startswith("# ")
        assert text.endswith("\n")
