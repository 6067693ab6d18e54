"""The packaged sets of class names: they fit their benchmarks and stay what they are."""

from __future__ import annotations

from collections import defaultdict
from importlib.resources import files
from pathlib import Path

import pytest

from ovbench.datasets.names import available_sets, describe_set, read_vocabulary
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
    ("ade20k", "objectinfo"): {"ground", "pot", "counter", "screen", "stool"},
    ("ade20k", "pnp_ovss"): {"screen"},
}

# Of every text in order: a changed set is another vocabulary and needs another name.
DIGESTS = {
    ("voc", "maskclip"): "6a0fa93b9a55",
    ("voc", "ovdiff"): "301c4bef2deb",
    ("voc", "plain"): "e0ee00713bf8",
    ("voc", "pnp_ovss"): "70ca242a4d99",
    ("voc", "sclip"): "8606241b3633",
    ("context", "maskclip"): "c288460dd0dd",
    ("context", "naclip"): "687108093be7",
    ("context", "plain"): "687108093be7",
    ("context", "pnp_ovss"): "687108093be7",
    ("context", "sclip"): "687108093be7",
    ("cocoobject", "plain"): "85cab36bd14c",
    ("cocoobject", "pnp_ovss"): "877b3f596ca8",
    ("cocoobject", "sclip"): "a4ee156381f7",
    ("cocostuff", "maskclip"): "48cfc0c21a7f",
    ("cocostuff", "plain"): "e37d5597ce46",
    ("cocostuff", "pnp_ovss"): "a76c015aba2f",
    ("cocostuff", "sclip"): "d797e3753a10",
    ("ade20k", "objectinfo"): "baafdc620a89",
    ("ade20k", "ovdiff"): "c0f44251f347",
    ("ade20k", "pnp_ovss"): "373d5da294be",
    ("ade20k", "plain"): "232b7b1aae2c",
    ("ade20k", "sclip"): "b63a03990f1c",
    ("cityscapes", "plain"): "b6f06e3be83d",
    ("cityscapes", "sclip"): "68505c7bd79d",
    ("coco20i", "plain"): "85cab36bd14c",
    ("fss1000", "plain"): "85ba40a68bea",
    ("toyworld", "plain"): "38e14a299d95",
    ("toyworld_stuff", "plain"): "68b44595eb4e",
}


def test_every_benchmark_has_its_names() -> None:
    without = {"folder", "perseg", "colour_patches"}  # their folders name their classes
    assert set(SIZES) == {*DATASETS.entries} - without
    assert all("plain" in available_sets(benchmark) for benchmark in SIZES)
    for benchmark in ("voc", "context", "cocoobject", "cocostuff", "ade20k", "cityscapes"):
        assert "sclip" in available_sets(benchmark)


@pytest.mark.parametrize(("benchmark", "name"), SETS)
def test_a_set_fits_its_benchmark(benchmark: str, name: str) -> None:
    count, background = SIZES[benchmark]
    vocabulary = read_vocabulary(benchmark, name, num_classes=count, background=background)
    assert len(vocabulary.classes) == count
    assert vocabulary.source == f"{benchmark}/{name}"
    without = read_vocabulary(benchmark, name, num_classes=count, background=False)
    assert without.names == vocabulary.names[vocabulary.offset :]
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
    assert vocabulary.sha256[:12] == DIGESTS[benchmark, name]


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


def test_only_voc_and_cocoobject_have_the_long_background() -> None:
    for benchmark, name, count in (
        ("voc", "sclip", 26), ("cocoobject", "sclip", 26), ("context", "sclip", 1),
        ("context", "naclip", 1),
    ):  # fmt: skip
        vocabulary = read_vocabulary(
            benchmark, name, num_classes=SIZES[benchmark][0], background=True
        )
        assert vocabulary.background is not None
        assert len(vocabulary.background.queries) == count


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
    for benchmark, name in SETS:
        text = (files("ovbench.datasets") / "names" / benchmark / f"{name}.txt").read_text("utf-8")
        assert text.startswith("# ")
        assert text.endswith("\n")
