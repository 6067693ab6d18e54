from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from in_process import ovbench
from PIL import Image
from raw_files import index_png

from ovbench.datasets import load_dataset
from ovbench.datasets.reading.class_list import read_class_list
from ovbench.datasets.reading.colour_masks import ColourMasks
from ovbench.errors import DataError, UsageError

Bytes = np.typing.NDArray[np.uint8]

ANIMALS = "# what lives here\n\nbackground, grass\ncat, kitten\n# or\ndog\n\n255: (ignore)\n"
COLOURED = "0 0 0: background\n64,128,0: cat, kitten\n192 0 128 : dog\n255 255 255: (ignore)\n"


def tree(root: Path, classes: str, suffix: str = ".jpg", **masks: Bytes) -> Path:
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True, exist_ok=True)
    (root / "classes.txt").write_text(classes, encoding="utf-8")
    for name, mask in masks.items():
        picture = Image.fromarray(np.full((*mask.shape[:2], 3), 99, np.uint8))
        picture.save(root / "images" / f"{name}{suffix}")
        Image.fromarray(mask).save(root / "masks" / f"{name}.png")
    return root


def row(*values: int) -> Bytes:
    return np.array([values], np.uint8)


def colours(*values: tuple[int, int, int]) -> Bytes:
    return np.array([values], np.uint8)


def test_index_masks_count_the_lines(tmp_path: Path) -> None:
    dataset = load_dataset("folder", root=tree(tmp_path / "farm", ANIMALS, a=row(0, 1, 2, 255)))
    assert dataset.vocabulary.names == ("background", "cat", "dog")
    assert dataset.vocabulary.background is not None
    assert dataset.vocabulary.background.queries == ("background", "grass")
    assert dataset.vocabulary.classes[0].synonyms == ("kitten",)
    assert dataset.load(0).label.tolist() == [[0, 1, 2, 255]]
    assert (dataset.info.background, dataset.info.variant) == ("class", "farm")
    ignoring = load_dataset("folder", root=tmp_path / "farm", background="ignore")
    assert ignoring.vocabulary.names == ("cat", "dog")
    assert ignoring.load(0).label.tolist() == [[255, 0, 1, 255]]


def test_colour_masks(tmp_path: Path) -> None:
    mask = colours((0, 0, 0), (64, 128, 0), (192, 0, 128), (255, 255, 255))
    dataset = load_dataset("folder", root=tree(tmp_path, COLOURED, a=mask))
    assert dataset.vocabulary.names == ("background", "cat", "dog")
    assert dataset.load(0).label.tolist() == [[0, 1, 2, 255]]
    ignoring = load_dataset("folder", root=tmp_path, background="ignore")
    assert ignoring.load(0).label.tolist() == [[255, 0, 1, 255]]


@pytest.mark.parametrize(
    "line", ["background; sky, wall", '"background", sky, wall', "background = sky, wall"]
)
def test_the_background_is_found_however_its_line_is_written(tmp_path: Path, line: str) -> None:
    root = tree(tmp_path, f'{line}\n"cats, kittens"\n', a=row(0, 1))
    dataset = load_dataset("folder", root=root)
    assert dataset.vocabulary.names == ("background", "cats, kittens")
    assert dataset.vocabulary.background is not None
    assert dataset.vocabulary.background.queries[-2:] == ("sky", "wall")


def test_a_palette_mask_is_read_by_its_colours_where_they_are_named(tmp_path: Path) -> None:
    root = tree(tmp_path, COLOURED, a=colours((64, 128, 0), (0, 0, 0)))
    picture = Image.fromarray(row(7, 3))
    palette = [0] * 768
    palette[21:24] = [192, 0, 128]
    picture.putpalette(palette)
    picture.save(root / "masks" / "a.png")
    assert load_dataset("folder", root=root).load(0).label.tolist() == [[2, 0]]


def test_values_may_be_named(tmp_path: Path) -> None:
    root = tree(tmp_path, "7: cat\n9: dog\n0: (ignore)\n", a=row(7, 9, 0, 0))
    dataset = load_dataset("folder", root=root)
    assert dataset.vocabulary.names == ("cat", "dog")
    assert dataset.info.background == "none"
    assert dataset.load(0).label.tolist() == [[0, 1, 255, 255]]
    Image.fromarray(row(7, 8, 0, 0)).save(root / "masks" / "a.png")
    with pytest.raises(DataError, match=r"a\.png: label values \[8\] are unknown to folder"):
        dataset.load(0)


def test_255_is_void_or_a_class_only_where_a_line_says_so(tmp_path: Path) -> None:
    """Masks of 0 and 255, as most tools that draw them write."""
    root = tree(tmp_path, "background\nroad\n", a=row(0, 255, 0, 255))
    with pytest.raises(DataError, match=r"a\.png: label values \[255\] are unknown to folder; "
                       r"give each a line in classes\.txt: 'VALUE: NAME' for a class"):  # fmt: skip
        load_dataset("folder", root=root).load(0)
    for line, label in (("255: road", 1), ("road\n255: (ignore)", 255)):
        (root / "classes.txt").write_text(f"background\n{line}\n")
        dataset = load_dataset("folder", root=root)
        assert dataset.vocabulary.names == ("background", "road")
        assert dataset.load(0).label.tolist() == [[0, label, 0, label]]


def test_masks_of_few_bits_hold_the_values_they_store(tmp_path: Path) -> None:
    root = tree(tmp_path, "background\na\nb\nc\n", x=row(0, 0, 0, 0))
    (root / "masks" / "x.png").write_bytes(index_png([[0, 1, 2, 3]], 2))
    assert load_dataset("folder", root=root).load(0).label.tolist() == [[0, 1, 2, 3]]


def test_colour_masks_with_plain_names_are_told_of_colours(tmp_path: Path) -> None:
    root = tree(tmp_path, "cat\n", a=colours((64, 128, 0)))
    with pytest.raises(DataError, match=r"mode is RGB; .* begin each line .* '64 128 0: cat'"):
        load_dataset("folder", root=root).load(0)


def test_a_phones_picture_under_upright_labels_is_explained(tmp_path: Path) -> None:
    root = tree(tmp_path, "cat\n", a=np.zeros((3, 2), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees to show"
    picture = Image.fromarray(np.zeros((2, 3, 3), np.uint8))
    picture.save(root / "images" / "a.jpg", exif=exif)
    with pytest.raises(DataError, match=r"2x3 pixels, .* 3x2; .* turned as its EXIF data says"):
        load_dataset("folder", root=root).load(0)
    picture.save(root / "images" / "a.jpg")
    with pytest.raises(DataError, match=r"the two do not belong together$"):
        load_dataset("folder", root=root).load(0)


def test_pictures_of_all_formats_and_folders(tmp_path: Path) -> None:
    root = tree(tmp_path, "cat\ndog\n", a=row(0, 1))
    tree(tmp_path, "cat\ndog\n", ".PNG", b=row(1, 1))
    for part in ("images", "masks"):
        (root / part / "more").mkdir()
        (root / part / ".hidden.png").write_bytes(b"junk")
    Image.fromarray(np.zeros((1, 2, 4), np.uint8)).save(root / "images" / "more" / "c.d.tif")
    Image.fromarray(row(0, 0)).save(root / "masks" / "more" / "c.d.png")
    (root / "few.txt").write_text("b\n")
    dataset = load_dataset("folder", root=root)
    assert dataset.ids == ["a", "b", "more/c.d"]
    assert [dataset.load(i).image.shape for i in range(3)] == [(1, 2, 3)] * 3
    assert load_dataset("folder", root=root, split="few").ids == ["b"]


def test_other_names_for_the_same_classes(tmp_path: Path) -> None:
    root = tree(tmp_path, ANIMALS, a=row(0))
    (tmp_path / "other.txt").write_text("Katze\nHund\n")
    dataset = load_dataset("folder", root=root, names=tmp_path / "other.txt")
    assert dataset.vocabulary.names == ("background", "Katze", "Hund")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=12, unique=True),
    st.data(),
)
def test_colours_are_found_as_by_looking_each_up(
    tmp_path: Path, palette: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    chosen = data.draw(st.lists(st.sampled_from(range(len(palette))), min_size=1, max_size=9))
    Image.fromarray(colours(*[palette[i] for i in chosen])).save(tmp_path / "a.png")
    assert ColourMasks(tmp_path, colours=tuple(palette)).read("a").tolist() == [chosen]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("", "names no classes"),
        ("# nothing\n\n", "names no classes"),
        ("7: cat\n7: dog\n", "line 2: 7 already stands for line 1"),
        ("1: cat\ndog\n", "line 2: 1 already stands for line 1"),
        ("cat\ncat\n", "line 2: 'cat' is already line 1"),
        ("1 2 3: cat\n1 2 3: dog\n", "line 2: 1 2 3 already stands for line 1"),
        ("1 2 3: cat\ndog\n", "line 2: either every line begins with a colour or none does"),
        ("#1 shirt\ncat\n", "line 1: begins with '#' and no blank behind it"),
        ("cat\nd\u2028og\n", r"line 2: holds the control character U\+2028"),
        ("cat\nd\x0bog\n", r"line 2: holds the control character U\+000B"),
        ("cat\n65536: dog\n", "line 2: 65536 does not fit 16 bits"),
        ("1 2 300: cat\n", "line 1: 1 2 300 is no colour"),
        ("-1: cat\n", "line 1: '-1' is neither a value, as in '7: cat', nor a colour"),
        ("cat\n 0.5 : dog\n", "line 2: '0.5' is neither a value"),
        ("1 2: cat\n", "line 1: '1 2' is neither a value"),
        ("cat\n\n# pets\ndog\n", "line 4: line 2 is blank, and whether it counts"),
        ("0: cat\n\n7: dog\nowl\n", "line 4: line 2 is blank"),
        ("7:\n", "line 1: 7 has no name"),
        ("cat,,kitten\n", "line 1: an empty name beside a comma"),
        ("".join(f"c{i}\n" for i in range(256)), "256 classes; a folder has room for 255"),
        ("".join(f"{i} 0 0: c{i}\n{i} 1 0: d{i}\n" for i in range(128)), "256 classes; .* 255"),
    ],
)
def test_a_wrong_list_of_classes_is_one_clear_line(
    tmp_path: Path, classes: str, message: str
) -> None:
    root = tree(tmp_path, classes, a=row(0))
    with pytest.raises(UsageError, match=message) as caught:
        load_dataset("folder", root=root)
    assert str(caught.value).startswith(f"{root / 'classes.txt'}")
    assert "\n" not in str(caught.value)


def test_values_of_16_bits(tmp_path: Path) -> None:
    root = tree(tmp_path, "0: cat\n300: dog\n65535: (ignore)\n", ".png", a=row(0, 0, 0))
    assert load_dataset("folder", root=root).load(0).label.tolist() == [[0, 0, 0]]
    Image.fromarray(np.array([[0, 300, 65535]], dtype=np.uint16)).save(root / "masks" / "a.png")
    assert load_dataset("folder", root=root).load(0).label.tolist() == [[0, 1, 255]]


@pytest.mark.parametrize(
    "classes", ["# pets\n\n0: cat\n\n1: dog\n\n", "\ncat\n# or a hound\ndog\n\n", "24h shop\ndog"]
)
def test_a_blank_line_that_cannot_count(tmp_path: Path, classes: str) -> None:
    root = tree(tmp_path, classes, a=row(0, 1))
    assert load_dataset("folder", root=root).load(0).label.tolist() == [[0, 1]]


def test_most_classes_that_fit(tmp_path: Path) -> None:
    root = tree(tmp_path, "".join(f"class {i}\n" for i in range(255)), a=row(0, 254))
    dataset = load_dataset("folder", root=root)
    assert dataset.load(0).label.tolist() == [[0, 254]]
    assert len(dataset.vocabulary) == 255


@pytest.mark.parametrize("part", ["images", "masks", "classes.txt"])
def test_a_missing_part_is_named(tmp_path: Path, part: str) -> None:
    root = tree(tmp_path / "data", "cat\n", a=row(0))
    (root / part).rename(tmp_path / "gone")
    with pytest.raises(UsageError, match=rf"{part}: not there; a folder holds images/"):
        load_dataset("folder", root=root)


def test_what_does_not_pair_is_named(tmp_path: Path) -> None:
    root = tree(tmp_path, "cat\n", a=row(0), b=row(0), c=row(0))
    (root / "images" / "a.jpg").unlink()
    (root / "masks" / "b.png").unlink()
    dataset = load_dataset("folder", root=root)
    for index, missing in ((0, r"images/a\.jpg"), (1, r"masks/b\.png")):
        with pytest.raises(DataError, match=f"{missing}: no such file"):
            dataset.load(index)
    assert dataset.load(2).id == "c"


def test_more_that_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no images; a folder holds images/"):
        load_dataset("folder", root=tree(tmp_path / "empty", "cat\n"))
    root = tree(tmp_path / "twins", "cat\n", a=row(0))
    tree(root, "cat\n", ".png", a=row(0))
    with pytest.raises(UsageError, match=r"a\.(jpg|png) has the same name; keep one"):
        load_dataset("folder", root=root)
    root = tree(tmp_path / "colours", COLOURED, a=colours((0, 0, 0), (1, 2, 3), (1, 2, 3)))
    with pytest.raises(DataError, match=r"a\.png: 2 pixels have colours .* such as 1 2 3"):
        load_dataset("folder", root=root).load(0)
    with pytest.raises(UsageError, match=r"no split 'dev': .*dev\.txt would list its images"):
        load_dataset("folder", root=root, split="dev")
    with pytest.raises(UsageError, match="folder has no background to 'class'"):
        load_dataset("folder", root=tree(tmp_path / "f", "cat\n", a=row(0)), background="class")
    with pytest.raises(UsageError, match="folder needs --root DIR"):
        load_dataset("folder")


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    root = tree(tmp_path / "data", "cat\n", a=row(0))
    (root / "images").rename(tmp_path / "elsewhere")
    (root / "images").symlink_to(tmp_path / "elsewhere")
    assert load_dataset("folder", root=root).ids == ["a"]
    (tmp_path / "elsewhere" / "again").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match=r"images/again: a link that leads back to .*elsewhere"):
        load_dataset("folder", root=root)


def test_a_file_name_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    root = tree(tmp_path, "a\nb\n", one=row(0, 1))
    place = os.fsencode(root / "images") + b"/caf\xe9.jpg"
    try:
        with open(place, "wb"):
            pass
    except OSError:
        pytest.skip("this file system has no such names")
    with pytest.raises(UsageError, match=r"images: the file name 'caf\\xe9\.jpg' is not UTF-8"):
        load_dataset("folder", root=root)


def test_one_command_measures_it(tmp_path: Path) -> None:
    root = tree(tmp_path / "farm", COLOURED, a=colours((64, 128, 0)), b=colours((0, 0, 0)))
    asked = ("run", "--method", "constant", "--dataset", "folder", "--root", root)
    done = ovbench(*asked, "--output", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "constant on folder (farm) all, 2 images, with background" in done.stdout

    assert read_class_list(root / "classes.txt").colours[1] == (64, 128, 0)
