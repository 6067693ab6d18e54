"""Preparation against a server on this machine, with archives in the official layouts."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_archives import tar, zipped
from weight_servers import Page, PageHandler, serving

from ovbench.datasets import load_dataset
from ovbench.datasets.fetching import archives
from ovbench.datasets.fetching import prepare as module
from ovbench.datasets.fetching.archives import BY_HAND, CATALOGUE, Archive
from ovbench.datasets.fetching.prepare import prepare
from ovbench.errors import UsageError
from ovbench.harness.files import download
from ovbench.harness.registry.names import DATASETS


class Watching:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.dies_at: int | None = None

    def says(self, line: str) -> None:
        self.lines.append(line)

    def unpacking(self, archive: str, done: int, total: int) -> None:
        if done == self.dies_at:
            raise KeyboardInterrupt


def png(*values: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.array([values], np.uint8)).save(out, "PNG")
    return out.getvalue()


def jpg(width: int) -> bytes:
    out = io.BytesIO()
    noise = np.random.default_rng(width).integers(0, 256, (1, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(out, "JPEG")
    return out.getvalue()


VOC = tar(
    {
        "VOCdevkit/VOC2012/JPEGImages/2007_000001.jpg": jpg(3),
        "VOCdevkit/VOC2012/JPEGImages/2007_000002.jpg": jpg(2),
        "VOCdevkit/VOC2012/SegmentationClass/2007_000001.png": png(0, 20, 255),
        "VOCdevkit/VOC2012/SegmentationClass/2007_000002.png": png(7, 7),
        "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt": b"2007_000001\n2007_000002\n",
    }
)

Publish = Callable[..., Page]


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Iterator[Publish]:
    """Put a page where an archive of the catalogue comes from, with its digest published."""
    with ExitStack() as stack:

        def put(constant: str, page: Page, *, known: bool = True) -> Page:
            address = stack.enter_context(serving(PageHandler, page))
            stack.callback(page.released.set)
            old = getattr(archives, constant)
            digest = f"md5:{hashlib.md5(page.body).hexdigest()}" if known else None
            new = replace(old, url=f"{address}/{old.name}", digest=digest)
            monkeypatch.setattr(archives, constant, new)
            changed = {
                name: {
                    v: tuple(new if a.name == old.name else a for a in needed)
                    for v, needed in variants.items()
                }
                for name, variants in module.CATALOGUE.items()
            }
            monkeypatch.setattr(module, "CATALOGUE", changed)
            return page

        yield put


def voc_is_here(root: Path) -> None:
    dataset = load_dataset("voc", root=root)
    assert [dataset.load(i).label.tolist() for i in range(2)] == [[[0, 20, 255]], [[7, 7]]]


def test_from_nothing_to_a_dataset(publish: Publish, tmp_path: Path) -> None:
    page, root, watching = publish("VOC2012", Page(VOC)), tmp_path / "new" / "data", Watching()
    prepare("voc", root, watching)
    voc_is_here(root)
    assert "Flickr" in watching.lines[0]
    assert not list((root / ".ovbench").glob("*.tar*[!n]"))  # the archive is gone, its note stays
    note = json.loads((root / ".ovbench" / "VOCtrainval_11-May-2012.tar.json").read_text())
    assert note["folders"]["VOCdevkit/VOC2012/JPEGImages"] == 2
    prepare("voc", root, watching)
    assert page.starts == [0]
    assert any("(is here)" in line for line in watching.lines)


def test_what_was_deleted_is_fetched_again(publish: Publish, tmp_path: Path) -> None:
    page = publish("VOC2012", Page(VOC))
    prepare("voc", tmp_path, Watching())
    (tmp_path / "VOCdevkit/VOC2012/JPEGImages/2007_000002.jpg").unlink()
    prepare("voc", tmp_path, Watching())
    voc_is_here(tmp_path)
    assert page.starts == [0, 0]


def test_a_connection_that_breaks_is_taken_up_by_itself(publish: Publish, tmp_path: Path) -> None:
    page = publish("VOC2012", Page(VOC, breaks_after=4096))
    watching = Watching()
    prepare("voc", tmp_path, watching)
    voc_is_here(tmp_path)
    assert page.starts == list(range(0, len(VOC), 4096))
    assert any("going on from there" in line for line in watching.lines)


def test_a_silent_server(publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT_S", 0.3)
    page = publish("VOC2012", Page(VOC, breaks_after=0, stalls=True))
    with pytest.raises(UsageError, match=r"could not be fetched \(.*curl -L -C - -o .*tar http"):
        prepare("voc", tmp_path, Watching())
    page.released.set()
    page.stalls, page.breaks_after = False, None
    prepare("voc", tmp_path, Watching())
    voc_is_here(tmp_path)


def test_a_corrupted_download_is_discarded(publish: Publish, tmp_path: Path) -> None:
    page = publish("VOC2012", Page(VOC))
    page.body = VOC[:5000] + b"?" + VOC[5001:]
    with pytest.raises(UsageError, match=r"md5:.* is published; it was discarded, run again"):
        prepare("voc", tmp_path, Watching())
    assert not (tmp_path / "VOCdevkit").exists()
    page.body = VOC
    prepare("voc", tmp_path, Watching())
    voc_is_here(tmp_path)


def test_an_unknown_digest_is_recorded_and_held_to(publish: Publish, tmp_path: Path) -> None:
    page = publish("VOC2012", Page(VOC), known=False)
    prepare("voc", tmp_path, Watching())
    note = tmp_path / ".ovbench" / "VOCtrainval_11-May-2012.tar.json"
    assert json.loads(note.read_text())["digest"] == f"sha256:{hashlib.sha256(VOC).hexdigest()}"
    shutil.rmtree(tmp_path / "VOCdevkit")
    page.body = tar({"VOCdevkit/VOC2012/another": b"version"})
    with pytest.raises(UsageError, match=r"recorded at the first download \(delete .*json"):
        prepare("voc", tmp_path, Watching())
    note.unlink()
    prepare("voc", tmp_path, Watching())
    assert (tmp_path / "VOCdevkit/VOC2012/another").read_bytes() == b"version"


PACK = tar({"trainval/a.mat": b"labels", "trainval/b.mat": b"more of them"}, "w:gz")


def lists_are_here(root: Path) -> None:
    assert sorted(p.name for p in (root / "pascal-context/trainval").iterdir()) == [
        "a.mat",
        "b.mat",
    ]


@pytest.mark.parametrize(
    "spoilt",
    [PACK[:-9], PACK[: len(PACK) // 2], b"<html>come back later</html>", b""],
    ids=["end missing", "half", "page", "empty"],
)
def test_a_broken_first_download_is_not_adopted(
    publish: Publish, tmp_path: Path, spoilt: bytes
) -> None:
    publish("VOC2010", Page(VOC))
    page = publish("CONTEXT_PACK", Page(spoilt), known=False)
    with pytest.raises(UsageError, match=r"cannot be unpacked \(.*it was discarded, run") as caught:
        prepare("context", tmp_path, Watching(), variant="labels459")
    assert "\n" not in str(caught.value)
    assert not [p for p in (tmp_path / ".ovbench").iterdir() if "trainval.tar.gz" in p.name]
    page.body = PACK
    prepare("context", tmp_path, Watching(), variant="labels459")
    lists_are_here(tmp_path)


def test_a_broken_archive_fetched_by_hand_stays_and_is_named(
    publish: Publish, tmp_path: Path
) -> None:
    publish("VOC2010", Page(VOC))
    publish("CONTEXT_PACK", Page(PACK), known=False)
    (tmp_path / "trainval.tar.gz").write_bytes(PACK[:-9])
    with pytest.raises(UsageError, match=r"/trainval\.tar\.gz: .*; fetch it again, or delete it"):
        prepare("context", tmp_path, Watching(), variant="labels459")
    (tmp_path / "trainval.tar.gz").write_bytes(PACK)
    prepare("context", tmp_path, Watching(), variant="labels459")
    lists_are_here(tmp_path)


def test_another_version_on_a_server_that_names_none(publish: Publish, tmp_path: Path) -> None:
    publish("VOC2010", Page(VOC))
    # Both are stored, not packed: one that continued the other would unpack.
    old, new = (
        tar({"trainval/a.mat": text * 4000, "trainval/b.mat": b"labels"})
        for text in (b"old ", b"newer ")
    )
    page = publish("CONTEXT_PACK", Page(old, breaks_after=3000), known=False)

    class Changes(Watching):
        def says(self, line: str) -> None:
            if "going on from there" in line:
                page.body, page.breaks_after = new, None

    prepare("context", tmp_path, Changes(), variant="labels459")
    found = (tmp_path / "pascal-context/trainval/a.mat").read_bytes()
    assert found == b"newer " * 4000
    assert page.starts == [0, 3000, 0]


@pytest.mark.parametrize(
    "note",
    ["[]", "{}", '{"url": "", "digest": "sha256:0", "folders": null}', "\ufeff{", "9" * 5000,
     '{"url": "", "digest": 1, "folders": {}}', '{"url": "", "digest": "", "folders": {"a": "b"}}'],
)  # fmt: skip
def test_a_note_that_says_nothing_is_no_note(publish: Publish, tmp_path: Path, note: str) -> None:
    publish("VOC2012", Page(VOC), known=False)
    (tmp_path / ".ovbench").mkdir()
    (tmp_path / ".ovbench" / "VOCtrainval_11-May-2012.tar.json").write_text(note, "utf-8")
    prepare("voc", tmp_path, Watching())
    voc_is_here(tmp_path)


@pytest.mark.parametrize("dies_at", [1, 3, 5])
def test_a_killed_unpacking_goes_on(publish: Publish, tmp_path: Path, dies_at: int) -> None:
    page, watching = publish("VOC2012", Page(VOC)), Watching()
    watching.dies_at = dies_at
    with pytest.raises(KeyboardInterrupt):
        prepare("voc", tmp_path, watching)
    prepare("voc", tmp_path, Watching())
    voc_is_here(tmp_path)
    assert page.starts == [0]  # not fetched again


def test_an_archive_fetched_by_hand_is_used_and_kept(publish: Publish, tmp_path: Path) -> None:
    page = publish("VOC2012", Page(VOC))
    archive = tmp_path / "VOCtrainval_11-May-2012.tar"
    archive.write_bytes(VOC[:-1] + b"?")
    with pytest.raises(UsageError, match="is published; fetch it again"):
        prepare("voc", tmp_path, Watching())
    archive.write_bytes(VOC)
    prepare("voc", tmp_path, Watching())
    voc_is_here(tmp_path)
    assert archive.exists()
    assert page.starts == []


def test_archives_may_be_kept(publish: Publish, tmp_path: Path) -> None:
    publish("VOC2012", Page(VOC))
    prepare("voc", tmp_path, Watching(), keep_archives=True)
    assert (tmp_path / ".ovbench" / "VOCtrainval_11-May-2012.tar").read_bytes() == VOC


def test_nothing_of_the_user_s_is_overwritten(publish: Publish, tmp_path: Path) -> None:
    publish("VOC2012", Page(VOC))
    mine = tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("my own list\n")
    with pytest.raises(UsageError, match=r"val\.txt: is not the file in .*; move it away"):
        prepare("voc", tmp_path, Watching())
    assert mine.read_text() == "my own list\n"


def test_a_full_disk_is_noticed_first(
    publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = publish("VOC2012", Page(VOC))
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UsageError, match=r"GiB are needed for the archives .* GiB are free"):
        prepare("voc", tmp_path, Watching())
    assert page.starts == []


COCO = {
    "COCO_VAL2017": zipped(
        {"val2017/000000000007.jpg": jpg(4), "val2017/000000000009.jpg": jpg(2)}
    ),
    "STUFF_MAPS": zipped(
        {
            "train2017/000000000001.png": png(1),
            "val2017/000000000007.png": png(0, 181, 255, 10),
            "val2017/000000000009.png": png(91, 92),
        }
    ),
}


def test_only_what_is_needed_is_unpacked_and_shared(publish: Publish, tmp_path: Path) -> None:
    pages = {name: publish(name, Page(body)) for name, body in COCO.items()}
    prepare("cocostuff", tmp_path, Watching())
    assert not (tmp_path / "stuffthingmaps" / "train2017").exists()
    dataset = load_dataset("cocostuff", root=tmp_path)
    assert dataset.load(0).label.tolist() == [[0, 170, 255, 10]]
    prepare("cocoobject", tmp_path, Watching())
    assert load_dataset("cocoobject", root=tmp_path).load(0).label.tolist() == [[1, 0, 0, 11]]
    assert [page.starts for page in pages.values()] == [[0], [0]]


def test_context_in_both_distributions(publish: Publish, tmp_path: Path) -> None:
    from scipy.io import savemat

    mat = io.BytesIO()
    savemat(mat, {"LabelMap": np.array([[2, 65, 7]], np.uint16)})
    lists = "VOCdevkit/VOC2010/ImageSets/Main/val.txt"
    publish("VOC2010", Page(tar({"VOCdevkit/VOC2010/JPEGImages/a.jpg": jpg(3), lists: b"a\n"})))
    publish("CONTEXT_PACK", Page(tar({"trainval/a.mat": mat.getvalue()}, "w:gz")))
    detail = {
        "images": [{"image_id": 1, "file_name": "a.jpg", "height": 1, "width": 3, "phase": "val"}],
        "annos_segmentation": [
            {"image_id": 1, "category_id": 360, "segmentation": {"counts": [0, 3], "size": [1, 3]}}
        ],
    }
    publish("DETAIL", Page(json.dumps(detail).encode()))
    prepare("context", tmp_path, Watching(), variant="labels459")
    dataset = load_dataset("context", root=tmp_path)
    assert dataset.info.variant == "labels459"
    assert dataset.load(0).label.tolist() == [[1, 15, 0]]
    prepare("context", tmp_path, Watching())
    dataset = load_dataset("context", root=tmp_path)
    assert dataset.info.variant == "detail"
    names = {dataset.vocabulary.names[v] for v in dataset.load(0).label.ravel()}
    assert names == {"sky"}


@pytest.mark.parametrize("name", BY_HAND)
def test_what_only_a_person_can_fetch(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} cannot be fetched by a program: ") as caught:
        prepare(name, tmp_path, Watching())
    assert str(tmp_path) in str(caught.value)


def test_every_benchmark_is_known_here() -> None:
    files = {"folder", "toyworld", "toyworld_stuff"}
    assert {*CATALOGUE, *BY_HAND} == {*DATASETS.entries} - files - {"colour_patches"}
    for variants in CATALOGUE.values():
        for archive in (a for needed in variants.values() for a in needed):
            assert archive.url.startswith(("http://", "https://"))
            length = {"md5": 32, "sha1": 40, "sha256": 64}
            if archive.digest:
                algorithm, _, value = archive.digest.partition(":")
                assert len(bytes.fromhex(value)) * 2 == length[algorithm]


def test_torchvision_publishes_the_same_digests() -> None:
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    def published(archive: Archive) -> str:
        years = DATASET_YEAR_DICT.values()
        return next(f"md5:{year['md5']}" for year in years if year["url"].endswith(archive.name))

    assert archives.VOC2010.digest == published(archives.VOC2010)
    # Its entry of 2008 has the file name of 2012.
    assert archives.VOC2012.digest == f"md5:{DATASET_YEAR_DICT['2012']['md5']}"


def test_nothing_to_prepare(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="toyworld: nothing to prepare"):
        prepare("toyworld", tmp_path, Watching())
    with pytest.raises(UsageError, match="no variant 'converted' to prepare; it has detail"):
        prepare("context", tmp_path, Watching(), variant="converted")


def test_one_at_a_time(publish: Publish, tmp_path: Path) -> None:
    from filelock import FileLock

    publish("VOC2012", Page(VOC))
    (tmp_path / ".ovbench").mkdir()
    with (
        FileLock(tmp_path / ".ovbench" / "lock"),
        pytest.raises(UsageError, match="another preparation is at work here"),
    ):
        prepare("voc", tmp_path, Watching())


def test_a_root_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file/data: cannot be written to"):
        prepare("voc", tmp_path / "file" / "data", Watching())
