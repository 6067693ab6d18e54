"""Both constructions, on real files and on files written here, against pycocotools."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import seconds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as codes
from pycocotools.coco import COCO
from tiny_episodes import IDS

from ovbench.datasets import load_dataset
from ovbench.datasets.cocoobject import map_encoding
from ovbench.datasets.reading.coco_instances import Instances
from ovbench.datasets.reading.coco_masks import decode_mask
from ovbench.datasets.reading.encoding import LabelEncoding
from ovbench.errors import DataError, UsageError
from ovbench.harness.contract.datasets import BackgroundRule
from ovbench.harness.files.images import write_label

Bytes = np.typing.NDArray[np.uint8]

# COCO's ids of its 80 categories.


def picture(root: Path, name: str, height: int, width: int) -> None:
    (root / "val2017").mkdir(parents=True, exist_ok=True)
    blank = Image.fromarray(np.zeros((height, width, 3), np.uint8))
    blank.save(root / "val2017" / f"{name}.jpg")


def maps(root: Path, **labels: Bytes) -> Path:
    (root / "stuffthingmaps" / "val2017").mkdir(parents=True, exist_ok=True)
    for name, label in labels.items():
        write_label(root / "stuffthingmaps" / "val2017" / f"{name}.png", label)
        picture(root, name, *label.shape)
    return root


def box(category: int, left: int, top: int, right: int, bottom: int, **more: Any) -> Any:
    corners = [left, top, right, top, right, bottom, left, bottom]
    area = (right - left) * (bottom - top)
    return {"category_id": category, "iscrowd": 0, "area": area, "segmentation": [corners], **more}


def instances(root: Path, *annotations: Any, size: tuple[int, int] = (6, 8)) -> Path:
    """``instances_val2017.json`` with one image of number 7."""
    picture(root, "000000000007", *size)
    content = {
        "images": [{"id": 7, "file_name": "000000000007.jpg", "height": size[0], "width": size[1]}],
        "categories": [{"id": i, "name": str(i)} for i in IDS],
        "annotations": [{"id": n, "image_id": 7, **one} for n, one in enumerate(annotations)],
    }
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    return root


def row(*values: int) -> Bytes:
    return np.array([values], np.uint8)


def official(rule: BackgroundRule) -> LabelEncoding:
    return map_encoding([i - 1 for i in IDS], range(91, 182), rule)


def test_stuff_and_void_become_background() -> None:
    stored = row(0, 89, 91, 181, 255, 10, 12)
    found = official("class").decode(stored, Path("x"))
    assert found.tolist() == [[1, 80, 0, 0, 0, 11, 12]]
    without = official("ignore").decode(stored, Path("x"))
    assert without.tolist() == [[0, 79, 255, 255, 255, 10, 11]]
    things = row(*(i - 1 for i in IDS))
    assert official("class").decode(things, Path("x")).tolist() == [[*range(1, 81)]]
    with pytest.raises(DataError, match=r"\[11\] are unknown to cocoobject"):
        official("class").decode(row(11), Path("x"))


@pytest.mark.parametrize("home", ["coco_stuff164k/", ""])
def test_converted_files_hold_the_labels(tmp_path: Path, home: str) -> None:
    for part in ("images", "annotations"):
        (tmp_path / f"{home}{part}/val2017").mkdir(parents=True)
    write_label(tmp_path / f"{home}annotations/val2017/a_instanceTrainIds.png", row(0, 1, 80))
    write_label(tmp_path / f"{home}annotations/val2017/a_labelTrainIds.png", row(170, 1, 80))
    Image.fromarray(np.zeros((1, 3, 3), np.uint8)).save(
        tmp_path / f"{home}images/val2017/a.jpg"
    )  # fmt: skip
    dataset = load_dataset("cocoobject", root=tmp_path)
    assert (dataset.ids, dataset.info.variant) == (["a"], "stuffthingmaps")
    assert dataset.load(0).label.tolist() == [[0, 1, 80]]
    assert load_dataset("object80", root=tmp_path).load(0).label.tolist() == [[255, 0, 79]]
    # COCO-Stuff's converted files alone are enough.
    (tmp_path / f"{home}annotations/val2017/a_instanceTrainIds.png").unlink()
    write_label(tmp_path / f"{home}annotations/val2017/a_labelTrainIds.png", row(170, 0, 255))
    dataset = load_dataset("cocoobject", root=tmp_path)
    assert (dataset.ids, dataset.load(0).label.tolist()) == (["a"], [[0, 1, 0]])


def test_the_first_object_shows_and_crowds_are_painted(tmp_path: Path) -> None:
    crowd = {"counts": [0, 12, 36], "size": [6, 8]}  # the first two columns
    root = instances(
        tmp_path,
        box(1, 1, 1, 5, 5),
        box(90, 3, 3, 8, 6),
        {"category_id": 18, "iscrowd": 1, "area": 12, "segmentation": crowd},
    )
    dataset = load_dataset("cocoobject", root=root)
    assert (dataset.ids, dataset.info.variant) == (["000000000007"], "instances")
    label = dataset.load(0).label
    names = dataset.vocabulary.names
    assert names[label[4, 4]] == "person"  # over the toothbrush, which comes later
    assert names[label[5, 7]] == "toothbrush"
    assert names[label[0, 0]] == names[label[5, 1]] == "dog"
    assert names[label[2, 1]] == "person"  # over the crowd
    assert names[label[0, 5]] == "background"


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(IDS),
            st.integers(0, 9), st.integers(0, 9), st.integers(1, 9), st.integers(1, 9),
        ),
        max_size=6,
    )
)  # fmt: skip
def test_painting_is_what_pycocotools_masks_give(
    tmp_path: Path, boxes: list[tuple[int, int, int, int, int]]
) -> None:
    shapes = [box(c, x, y, x + w, y + h) for c, x, y, w, h in boxes]
    root = instances(tmp_path, *shapes, size=(20, 19))
    path = root / "annotations" / "instances_val2017.json"
    expected = first_wins(path, 7)
    assert (load_dataset("cocoobject", root=root).load(0).label == expected).all()


def first_wins(path: Path, image: int) -> Bytes:
    """Pixel by pixel, through pycocotools' own reader."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(path))
    entry = coco.loadImgs(image)[0]
    label = np.zeros((entry["height"], entry["width"]), np.uint8)
    for annotation in coco.loadAnns(coco.getAnnIds(image)):
        mask = coco.annToMask(annotation).astype(bool)
        label[mask & (label == 0)] = 1 + IDS.index(annotation["category_id"])
    return label


# Of the three images with both kinds of files: void pixels of the maps, background pixels of
# both constructions, and pixels of overlapping objects, on which alone they differ.
REAL = {
    "000000000139": (1960, 236296, 486),
    "000000000785": (573, 240686, 274),
    "000000001268": (1497, 226319, 1290),
}


def test_both_constructions_of_real_images(sample_data: Path) -> None:
    root = sample_data / "coco2017"
    maps = load_dataset("cocoobject", root=root)
    painted = load_dataset("cocoobject", root=root, variant="instances")
    assert (maps.info.variant, painted.info.variant) == ("stuffthingmaps", "instances")
    assert list(maps.ids) == list(painted.ids) == list(REAL)
    for index, image in enumerate(maps.ids):
        a, b = maps.load(index).label, painted.load(index).label
        stored = np.asarray(Image.open(root / "stuffthingmaps" / "val2017" / f"{image}.png"))
        void, background, overlap = REAL[image]
        assert (stored == 255).sum() == void
        assert (a == 0).sum() == (b == 0).sum() == background
        assert (a[stored == 255] == 0).all()
        assert (a != b).sum() == overlap
        assert ((a == 0) == (b == 0)).all()
        assert (b == first_wins(root / "annotations" / "instances_val2017.json", int(image))).all()


def test_real_maps_show_the_last_object(sample_data: Path) -> None:
    root = sample_data / "coco2017"
    dataset = load_dataset("cocoobject", root=root)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(root / "annotations" / "instances_val2017.json"))
    for index, image in enumerate(dataset.ids):
        label = dataset.load(index).label
        painted = np.zeros_like(label)
        for annotation in coco.loadAnns(coco.getAnnIds(int(image))):
            mask = coco.annToMask(annotation).astype(bool)
            painted[mask] = 1 + IDS.index(annotation["category_id"])
        assert (label == painted).all()


def test_real_histograms(sample_data: Path) -> None:
    root = sample_data / "coco2017"
    found = {}
    for variant in ("stuffthingmaps", "instances"):
        dataset = load_dataset("cocoobject", root=root, variant=variant)
        values, counts = np.unique(dataset.load(1).label, return_counts=True)
        names = [dataset.vocabulary.names[v] for v in values]
        found[variant] = dict(zip(names, counts.tolist(), strict=True))
    assert found == {
        "stuffthingmaps": {"background": 240686, "person": 27486, "skis": 3828},
        "instances": {"background": 240686, "person": 27760, "skis": 3554},
    }
    ignoring = load_dataset("object80", root=root, variant="instances").load(1).label
    assert (ignoring == 255).sum() == 240686
    assert (ignoring == 0).sum() == 27760


# Looked at in the pictures: a swan on a river, a woman with a bag; a living room.
@pytest.mark.parametrize("variant", ["stuffthingmaps", "instances"])
@pytest.mark.parametrize(
    ("index", "pixels"),
    [
        (2, {(135, 219): "boat", (240, 230): "bird", (252, 508): "person", (329, 552): "handbag",
             (189, 543): "cell phone", (204, 288): "background"}),
        (0, {(131, 454): "clock", (225, 154): "tv", (228, 503): "refrigerator",
             (217, 439): "person", (351, 553): "vase", (329, 615): "book"}),
    ],
)  # fmt: skip
def test_real_labels_hold_these_pixels(
    sample_data: Path, variant: str, index: int, pixels: dict[tuple[int, int], str]
) -> None:
    dataset = load_dataset("cocoobject", root=sample_data / "coco2017", variant=variant)
    label = dataset.load(index).label
    assert {place: dataset.vocabulary.names[label[place]] for place in pixels} == pixels


def test_every_real_object_decodes_as_pycocotools_says(sample_data: Path) -> None:
    path = sample_data / "coco" / "annotations" / "instances_val2014_100.json"
    found = Instances(path)
    assert list(found.categories) == IDS
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(path))
    crowds = 0
    for image, entry in found.images.items():
        ours, theirs = found.annotations(image), coco.loadAnns(coco.getAnnIds(image))
        for one, other in zip(ours, theirs, strict=True):
            mask = found.mask(one, entry)
            assert mask.shape == (entry.height, entry.width)
            assert (mask == coco.annToMask(other)).all()
            crowds += one.crowd
        everything = found.union(ours, entry)
        assert everything.sum() == (first_wins(path, image) > 0).sum()
    assert crowds == 9


def test_an_image_without_objects_is_all_background(tmp_path: Path) -> None:
    assert (load_dataset("cocoobject", root=instances(tmp_path)).load(0).label == 0).all()


def test_the_variant_is_part_of_the_identity(tmp_path: Path) -> None:
    from ovbench.datasets.choosing.choices import Choices
    from ovbench.datasets.cocoobject import open_cocoobject

    root = instances(maps(tmp_path, **{"000000000007": np.zeros((6, 8), np.uint8)}))
    infos = [open_cocoobject(Choices(root, variant=v)).info for v in ("instances", None)]
    assert infos[0] != infos[1]
    assert infos[1].variant == "stuffthingmaps"


@pytest.mark.parametrize(
    ("one", "message"),
    [
        ({"segmentation": [[]]}, "three or more pairs"),
        (
            {"segmentation": {"counts": [0, 4], "size": [2, 2]}},
            r"its size is \[2, 2\], the one stated for the image \[6, 8\]",
        ),
        ({"segmentation": "?"}, "neither polygons nor a run-length code"),
        ({"segmentation": []}, "neither polygons nor a run-length code"),
        ({"segmentation": [[0, 0, 1, 1]]}, "three or more pairs"),
        ({"segmentation": [[0, 0, 1, 1, 2, 0, 1]]}, "three or more pairs"),
        ({"segmentation": [[0, 0, 5, 0, 5, 1e9]]}, "far outside the 8x6 pixels stated for"),
        ({"segmentation": [[0, 0, 5, 0, 5, -2e9]]}, "far outside"),
        ({"segmentation": [[0, 0, 5, 0, 5, 1e30]]}, "corners are no numbers"),
        ({"segmentation": [[0, 0, 5, 0, 5, "5"]]}, "corners are no numbers"),
        ({"segmentation": [[0, 0, 8, 6] * 300_000]}, "outline has more than"),
        ({"segmentation": {"counts": [0, 50], "size": [6, 8]}}, "no numbers of pixels"),
        ({"segmentation": {"counts": [-1, 49], "size": [6, 8]}}, "no numbers of pixels"),
        ({"segmentation": {"counts": [0, 47], "size": [6, 8]}}, "sum to 47 pixels, not 48"),
        ({"segmentation": {"counts": [4] * 12 + ["0"], "size": [6, 8]}}, "no numbers of pixels"),
        ({"segmentation": {"counts": "", "size": [6, 8]}}, "no run-length code"),
        ({"segmentation": {"counts": "P" * 40, "size": [6, 8]}}, "no run-length code"),
        ({"segmentation": {"counts": "P" * 40 + "0", "size": [6, 8]}}, "no run-length code"),
        ({"segmentation": {"counts": "\u2028", "size": [6, 8]}}, "ascii"),
        ({"segmentation": {"counts": "0O", "size": [6, 8]}}, "sum to -1 pixels"),
        ({"segmentation": {"size": [6, 8]}}, "no counts"),
    ],
)
def test_a_broken_mask_is_named(tmp_path: Path, one: Any, message: str) -> None:
    root = instances(tmp_path, {**box(1, 0, 0, 2, 2), **one, "id": 31})
    named = rf"json, image 000000000007\.jpg, annotation 31: a mask cannot .*{message}"
    with seconds(5), pytest.raises(DataError, match=named) as caught:
        load_dataset("cocoobject", root=root).load(0)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("height", 10**9, "'height' is 1000000000, no whole number from 1 to 65535"),
        ("width", 0, "'width' is 0"),
        ("width", "8", "'width' is '8'"),
        ("height", True, "'height' is True"),
        ("height", None, "'height' is None"),
        ("file_name", 7, "'file_name' is 7, no text"),
        ("id", [7], "'id' is a list"),
        ("id", 10**40, "'id' is a huge number"),
    ],
)
def test_a_wrong_field_of_an_image_is_named(
    tmp_path: Path, field: str, value: Any, message: str
) -> None:
    root = instances(tmp_path, box(1, 0, 0, 2, 2))
    path = root / "annotations" / "instances_val2017.json"
    content = json.loads(path.read_text())
    content["images"][0][field] = value
    path.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=message):
        load_dataset("cocoobject", root=root)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("category_id", "1", "annotation 31: 'category_id' is '1'"),
        ("area", -1, "annotation 31: 'area' is -1, no number of pixels"),
        ("area", 10**40, "annotation 31: 'area' is a huge number"),
        ("image_id", 8, "no image 8, which has an annotation"),
    ],
)
def test_a_wrong_field_of_an_object_is_named(
    tmp_path: Path, field: str, value: Any, message: str
) -> None:
    root = instances(tmp_path, {**box(1, 0, 0, 2, 2), field: value, "id": 31})
    with pytest.raises(UsageError, match=message):
        load_dataset("cocoobject", root=root)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"id": 8, "file_name": "000000000007.jpg"}, "two images are called '000000000007.jpg'"),
        ({"id": 7, "file_name": "000000000008.jpg"}, "two images have the id 7"),
        ({"id": 8, "file_name": "../8.jpg"}, r"'\.\./8\.jpg' would lie elsewhere"),
    ],
)
def test_no_image_hides_another(tmp_path: Path, second: dict[str, Any], message: str) -> None:
    root = instances(tmp_path, box(1, 0, 0, 2, 2))
    path = root / "annotations" / "instances_val2017.json"
    content = json.loads(path.read_text())
    content["images"].append({**content["images"][0], **second})
    path.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=message):
        load_dataset("cocoobject", root=root)


def test_json_nested_for_ever_is_named(tmp_path: Path) -> None:
    root = instances(tmp_path)
    path = root / "annotations" / "instances_val2017.json"
    path.write_text("[" * 100_000)
    with pytest.raises(UsageError, match="not JSON"):
        load_dataset("cocoobject", root=root)


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_run_length_codes_decode_as_pycocotools_says(
    height: int, width: int, seed: int, density: float
) -> None:
    pixels = np.random.default_rng(seed).random((height, width)) < density
    code = codes.encode(np.asfortranarray(pixels.astype(np.uint8)))
    text = {"size": code["size"], "counts": code["counts"].decode()}
    assert (decode_mask(text, height, width, "") == pixels).all()
    runs = np.flatnonzero(np.diff(pixels.T.ravel(), prepend=False, append=not pixels[-1, -1]))
    counts = np.diff(runs, prepend=0).tolist()
    assert (
        decode_mask({"size": [height, width], "counts": counts}, height, width, "") == pixels
    ).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"{", "not JSON"),
        (b"{}", "not COCO's instances .*'images'"),
        (b"[]", "not COCO's instances"),
        (b'{"images": [], "categories": [], "annotations": []}', "0 categories, not 80"),
        (b'{"images": [], "categories": [], "annotations": [{"image_id": 3}]}', "3"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    root = instances(tmp_path, box(1, 0, 0, 2, 2))
    path = root / "annotations" / "instances_val2017.json"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        load_dataset("cocoobject", root=root, variant="instances")
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_category_of_its_own_is_named(tmp_path: Path) -> None:
    root = instances(tmp_path, box(12, 0, 0, 2, 2))
    with pytest.raises(UsageError, match="category 12 is not in its list"):
        load_dataset("cocoobject", root=root)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"root": None}, "needs --root DIR or OVBENCH_DATA"),
        ({"root": Path("/nowhere")}, "/nowhere: cocoobject is not here; .*prepare cocoobject"),
        ({"split": "train"}, "no split 'train'; it has val"),
        ({"variant": "polygons"}, "no variant 'polygons'; it has stuffthingmaps, instances"),
        ({"variant": "stuffthingmaps"}, "cocoobject is not here"),
    ],
)
def test_wrong_arguments_are_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, object], message: str
) -> None:
    monkeypatch.delenv("OVBENCH_DATA", raising=False)
    root = instances(tmp_path)
    with pytest.raises(UsageError, match=message) as caught:
        load_dataset("cocoobject", **{"root": root, **arguments})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_picture_that_the_list_does_not_have(tmp_path: Path) -> None:
    root = instances(tmp_path)
    picture(root, "strange", 2, 2)
    dataset = load_dataset("cocoobject", root=root)
    assert dataset.ids == ["000000000007", "strange"]
    with pytest.raises(DataError, match=r"instances_val2017\.json: has no image strange"):
        dataset.load(1)
    (root / "val2017").rename(root / "elsewhere")
    with pytest.raises(
        UsageError, match=r"instances_val2017\.json needs its pictures, but .* no val"
    ):
        load_dataset("cocoobject", root=root)


@pytest.mark.parametrize("home", ["", "coco/", "coco-stuff/", "coco_stuff164k/"])
@pytest.mark.parametrize("pictures", ["val2017", "images/val2017"])
def test_both_variants_find_the_pictures_in_one_way(
    tmp_path: Path, home: str, pictures: str
) -> None:
    root = instances(tmp_path, box(1, 0, 0, 2, 2))
    (root / home / pictures).parent.mkdir(parents=True, exist_ok=True)
    (root / "val2017").rename(root / home / pictures)
    found = load_dataset("cocoobject", root=root)
    assert (found.info.variant, found.load(0).label.sum()) == ("instances", 4)
    label = np.full((6, 8), 255, np.uint8)
    (root / "stuffthingmaps/val2017").mkdir(parents=True)
    write_label(root / "stuffthingmaps/val2017/000000000007.png", label)
    found = load_dataset("cocoobject", root=root)
    assert (found.info.variant, found.load(0).label.sum()) == ("stuffthingmaps", 0)
    found = load_dataset("cocoobject", root=root, variant="instances")
    assert found.load(0).label.sum() == 4


def test_the_file_of_instances_is_found_in_detectron2_s_tree(tmp_path: Path) -> None:
    instances(tmp_path / "coco", box(1, 0, 0, 2, 2))
    assert load_dataset("cocoobject", root=tmp_path).load(0).label.sum() == 4


@pytest.mark.parametrize(
    "segmentation",
    [[[0, 0, 5, 0, 5, 5]], {"size": [6, 8], "counts": [48]}, [[0, 0, 79, 0, 79, 59]]],
)
def test_a_stated_size_is_that_of_the_picture(tmp_path: Path, segmentation: Any) -> None:
    one = {"category_id": 1, "iscrowd": 0, "area": 1, "segmentation": segmentation}
    root = instances(tmp_path, one, size=(80, 60))
    picture(root, "000000000007", 6, 8)
    said = r"instances_val2017\.json: 60x80 pixels, but its image 000000000007 has 8x6; the two do"
    with pytest.raises(DataError, match=said):
        load_dataset("cocoobject", root=root).load(0)


def test_a_picture_that_exif_turns_says_so(tmp_path: Path) -> None:
    root = instances(tmp_path, size=(8, 6))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.new("RGB", (8, 6)).save(root / "val2017" / "000000000007.jpg", exif=exif)
    with pytest.raises(DataError, match=r"6x8 pixels, .* has 8x6; .* turned as its EXIF data says"):
        load_dataset("cocoobject", root=root).load(0)
