"""CorrCLIP's second version: whole images, the bank of pictures without labels, and its search."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_radio
import torch
from in_process import ovbench
from PIL import Image as Pillow
from torch import Tensor
from torch.nn.functional import interpolate, normalize, pad

from ovbench.adapters.parts.vfm import VFM, VFMReading, of_radio
from ovbench.adapters.regional.corrclip import CorrCLIP, CorrCLIPSettings, bank
from ovbench.adapters.regional.corrclip import whole as whole_module
from ovbench.adapters.regional.corrclip.bank import Bank, Maker, nearest
from ovbench.adapters.regional.corrclip.branches import Branches, with_regions
from ovbench.adapters.regional.corrclip.whole import PLAIN, in_windows, region_means, whole_features
from ovbench.datasets import load_dataset
from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.contract.settings import override
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Vocabulary
from ovbench.harness.registry.glance import card_of
from ovbench.harness.registry.picking import picks_of
from ovbench.harness.registry.trainings import supervision_of
from ovbench.models.clip.model import load_clip
from ovbench.models.pictures import Archive, archive_in
from ovbench.models.pixels.scores import Scores
from ovbench.models.pixels.windows import Windows
from ovbench.models.radio.file import read_radio
from ovbench.models.radio.model import Radio
from ovbench.models.regions.segments import Superpixels
from ovbench.models.regions.store import Regions

TOY = Runtime(checkpoints="toy", device="cpu")
V2 = {
    "prompts": "single", "regions": "superpixels", "superpixels": 9, "short_side": 96, "window": 64,
    "window_stride": 32, "vfm_view": "image", "vfm_reading": "tokens", "merge": False,
    "support": "bank", "neighbours": 4,
}  # fmt: skip
SCENES = load_dataset("toyworld")
IMAGE = SCENES.load(3).image


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three pictures, kept one by one."""
    monkeypatch.setenv("OVBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(bank, "TOGETHER", 1)
    found = tmp_path / "pictures"
    found.mkdir()
    for number in range(3):
        Pillow.fromarray(SCENES.load(number + 20).image).save(found / f"{number}.png")
    return found


def built(folder: Path | str, **settings: Any) -> CorrCLIP:
    method = CorrCLIP(override(CorrCLIPSettings, {**V2, "bank": str(folder), **settings}), TOY)
    classes = (ClassQuery("circle"), ClassQuery("square"), ClassQuery("star"))
    method.prepare(Vocabulary(classes, background=Background()))
    return method


@pytest.mark.parametrize("compared", [3, 7, 100])
def test_the_nearest_are_those_of_all_cosines(
    compared: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bank, "COMPARED", compared)
    queries, keys = drawn(5, 8) * 3, drawn(23, 8, seed=1).half()
    every = [[float(q @ k / (q.norm() * k.norm())) for k in keys.float()] for q in queries]
    expected = [sorted(range(23), key=lambda k: -row[k])[:6] for row in every]
    assert nearest(queries, keys, 6).tolist() == expected
    assert nearest(queries, keys[:4], 6).shape == (5, 4)


def test_values_of_the_nearest_are_averaged() -> None:
    keys, values = drawn(9, 4), (drawn(9, 6, seed=2).half(), drawn(9, 3, seed=3).half())
    queries = drawn(2, 4, seed=4)
    order = nearest(queries, keys, 3)
    for found, one in zip(Bank(keys, values).support(queries, 3), values, strict=True):
        mean = torch.stack([one.float()[row].mean(dim=0) for row in order])
        torch.testing.assert_close(found, mean / mean.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("size", [(64, 64), (50, 120), (90, 64)])
def test_windows_see_what_is_cut_from_enlarged_features(size: tuple[int, int]) -> None:
    """By the steps of forward_slide: enlarge, unit length, cut, repeat the border, reduce."""
    features, layout = drawn(6, 5, 7), Windows.over(size, 64, 32, 56)
    large = normalize(interpolate(features[None], size, mode="bilinear")[0], dim=0)
    rows, columns = layout.rows, layout.columns
    expected = []
    for top in rows.starts:
        for left in columns.starts:
            part = large[None, :, top : top + rows.length, left : left + columns.length]
            margins = (columns.before, columns.after, rows.before, rows.after)
            padded = pad(part, margins, mode="replicate")
            expected.append(interpolate(padded, (14, 16), mode="bilinear")[0])
    torch.testing.assert_close(in_windows(features, layout, (14, 16)), torch.stack(expected))


@pytest.mark.parametrize("unit", [False, True])
def test_means_of_regions_are_those_at_full_size(
    unit: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole_module, "BYTES", 4 * 6 * 31 * 5)  # five rows at a time
    features = drawn(6, 4, 5)
    regions = torch.from_numpy(np.random.default_rng(0).choice([0, 2, 7], (23, 31)))
    large = interpolate(features[None], (23, 31), mode="bilinear")[0]
    large = large / large.norm(dim=0) if unit else large
    numbers, means = region_means(Scores.enlarged(features, (23, 31)), regions, unit=unit)
    assert numbers.tolist() == [0, 2, 7]
    expected = torch.stack([large[:, regions == one].mean(dim=1) for one in (0, 2, 7)])
    torch.testing.assert_close(means, expected)


def test_an_image_goes_to_whole_patches_and_nothing_else() -> None:
    seen: list[Tensor] = []
    model = VFM((), 16, lambda pixels: seen.append(pixels) or pixels)  # type: ignore[func-returns-value]
    image = np.random.default_rng(0).integers(0, 256, (39, 9, 3), np.uint8)
    found = whole_features(model, image, torch.device("cpu"))
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    assert found.shape == (3, 32, 16)
    torch.testing.assert_close(seen[0], interpolate(pixels, (32, 16), mode="bilinear"))


def test_radio_sees_plain_pixels_by_its_own_statistics(tmp_path: Path) -> None:
    """Of a file in its authors' layout, without the heads that nobody asks for."""
    network = tiny_radio.tiny_radio()
    file = tiny_radio.write(tmp_path / "radio.pth.tar", network)
    record = CheckpointRecord("radio", "tiny", None, None)
    model = of_radio(Radio(read_radio(file, {}), (record,), Runtime(device="cpu")), **PLAIN)
    pixels = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    conditioner = network.input_conditioner
    with torch.inference_mode():
        expected = network((pixels - conditioner.norm_mean) / conditioner.norm_std)
    assert model.patch_size == 16
    found = model.features(pixels)
    torch.testing.assert_close(found.flatten(2).mT, expected, atol=1e-4, rtol=1e-4)


def test_the_bank_holds_what_the_steps_written_out_give(folder: Path) -> None:
    """Of one picture: a key and a value of every region, at the picture's own size."""
    settings = override(CorrCLIPSettings, {**V2, "bank": str(folder)})
    clip = load_clip("ViT-B-16", "openai", TOY)
    regions = Regions(Superpixels(9), TOY)
    record = CheckpointRecord("dino", "made up", None, "0")
    seeing = VFM((record,), 8, lambda x: interpolate(x, scale_factor=1 / 8, mode="area")[:, :2])
    branches = Branches(clip, settings)
    maker = Maker(archive_in(folder), regions, "later", TOY)
    keys, values = maker.keys(seeing, "tokens"), maker.values(branches, seeing)

    image = SCENES.load(20).image
    (masks,) = regions.masks([image])
    shown = masks.painted("later")
    size = shown.shape
    large = interpolate(
        whole_features(seeing, image, torch.device("cpu"))[None], size, mode="bilinear"
    )
    unit = normalize(large[0], dim=0)
    numbers = sorted(set(shown.flatten().tolist()) - {0})
    expected = torch.stack([unit[:, shown == one].mean(dim=1) for one in numbers])
    torch.testing.assert_close(keys[: len(numbers)].float(), expected, atol=1e-3, rtol=0)

    short = 2 * clip.image_size  # scenes are square
    pixels = interpolate(
        torch.from_numpy(image).permute(2, 0, 1)[None].float(), (short, short), mode="bilinear"
    )[0].add(0.5).floor()  # fmt: skip
    means, stds = (torch.tensor(one)[:, None, None] for one in (clip.mean, clip.std))
    both = with_regions((pixels / 255 - means) / stds, shown)
    layout = Windows.over((short, short), short * 3 // 4, short // 4, 56)
    total, count = torch.zeros(values.shape[1], short, short), torch.zeros(short, short)
    rows, columns = layout.rows, layout.columns
    for part, (top, left) in zip(
        layout.cut(both), [(t, c) for t in rows.starts for c in columns.starts], strict=True
    ):
        with torch.inference_mode():
            found = branches.features(part[None], seeing.features(part[None, :3]))
        full = interpolate(found, part.shape[1:], mode="bilinear")[0]
        full = full[:, rows.before : rows.before + rows.length]
        full = full[..., columns.before : columns.before + columns.length]
        total[:, top : top + rows.length, left : left + columns.length] += full
        count[top : top + rows.length, left : left + columns.length] += 1
    own = interpolate((total / count)[None], size, mode="bilinear")[0]
    means_of = torch.stack([own[:, shown == one].mean(dim=1) for one in numbers])
    close = normalize(means_of, dim=1)
    torch.testing.assert_close(values[: len(numbers)].float(), close, atol=1e-3, rtol=0)


def test_scores_are_half_the_images_and_half_the_banks(folder: Path) -> None:
    """A pixel has the texts' cosines with its region's support, by both CLIPs."""
    method = built(folder)
    (masks,) = method.regions.masks([IMAGE])
    pixels = method._input(IMAGE)
    both = with_regions(pixels, masks.painted("larger"))
    whole = whole_features(method.vfm, IMAGE, torch.device("cpu"))
    with torch.inference_mode():
        (found,) = method._supports([both], [whole])
    shown = both[3].long()
    unit = normalize(interpolate(whole[None], shown.shape, mode="bilinear")[0], dim=0)
    for number in shown.unique().tolist():
        query = unit[:, shown == number].mean(dim=1)
        keys = method._bank.keys.float()
        order = (keys @ query / keys.norm(dim=1)).argsort(descending=True)[:4]
        each = [
            text @ normalize(one[order].float().mean(dim=0), dim=0)
            for one, text in zip(method._bank.values, method._texts, strict=True)
        ]
        expected = sum(each) / 2
        places = found[:, shown == number]
        torch.testing.assert_close(places, expected[:, None].expand_as(places))  # type: ignore[union-attr]
    assert len(method._bank.values) == len(method._texts) == 2
    alone = built(folder, second_share=0)
    assert len(alone._bank.values) == len(alone._texts) == 1


def test_the_bank_changes_labels_and_its_share_decides_how_much(folder: Path) -> None:
    (half,), (all_of_it,) = (
        built(folder, support_share=share, vote=False).segment([IMAGE]) for share in (0.5, 1)
    )
    own = override(CorrCLIPSettings, {**V2, "support": "none", "vote": False})
    method = CorrCLIP(own, TOY)
    method.prepare(Vocabulary((ClassQuery("circle"), ClassQuery("square"), ClassQuery("star")),
                              background=Background()))  # fmt: skip
    (without,) = method.segment([IMAGE])
    (nothing,) = built(folder, support_share=0, vote=False).segment([IMAGE])
    assert (nothing == without).mean() > 0.999
    assert (half != without).mean() > 0.01
    assert (all_of_it != half).mean() > 0.01


def test_images_do_not_change_each_other(folder: Path) -> None:
    other = SCENES.load(7).image
    method = built(folder)
    together = method.segment([IMAGE, other])
    alone = [method.segment([one])[0] for one in (IMAGE, other)]
    for one, two in zip(together, alone, strict=True):
        assert (one == two).mean() > 0.999


class Counted:
    """A feature a region: the mean colour; counts its pictures and may be killed at one."""

    def __init__(self, killed_at: int | None = None, sha256: str = "0") -> None:
        self.pictures, self._killed_at = 0, killed_at
        record = CheckpointRecord("dino", "colours", None, sha256)
        self.vfm = VFM((record,), 1, self._features)

    def _features(self, pixels: Tensor) -> Tensor:
        if self.pictures == self._killed_at:
            raise KeyboardInterrupt
        self.pictures += 1
        return pixels


def keys_of(folder: Path, seen: Counted, reading: VFMReading = "tokens") -> Tensor:
    maker = Maker(archive_in(folder), Regions(Superpixels(9), TOY), "larger", TOY)
    return maker.keys(seen.vfm, reading)


def test_another_reading_of_the_same_weights_has_keys_of_its_own(folder: Path) -> None:
    keys_of(folder, Counted())
    seen = Counted()
    keys_of(folder, seen, "query_key")
    assert seen.pictures == 3


def test_who_is_killed_goes_on_with_the_next_picture(folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        keys_of(folder, Counted(killed_at=2))
    seen, again = Counted(), Counted()
    found = keys_of(folder, seen)
    assert seen.pictures == 1
    torch.testing.assert_close(keys_of(folder, again), found)
    assert again.pictures == 0


def _changed(folder: Path) -> None:
    Pillow.fromarray(SCENES.load(30).image).save(folder / "1.png")


def _added(folder: Path) -> None:
    Pillow.fromarray(SCENES.load(30).image).save(folder / "3.png")


@pytest.mark.parametrize(
    ("change", "sha256", "made"),
    [(lambda _: None, "1", 3), (_changed, "0", 1), (_added, "0", 1)],
    ids=["other weights", "a changed picture", "one more"],
)
def test_what_changed_is_made_again(
    change: Callable[[Path], None], sha256: str, made: int, folder: Path
) -> None:
    before, record = keys_of(folder, Counted()), bank.pictures_of(str(folder))[1]
    change(folder)
    seen = Counted(sha256=sha256)
    after = keys_of(folder, seen)
    assert seen.pictures == made
    if sha256 == "0":
        assert after.shape != before.shape or not torch.equal(after, before)
        assert bank.pictures_of(str(folder))[1] != record


def test_the_result_says_which_pictures(folder: Path) -> None:
    (record,) = (one for one in built(folder).checkpoints if one.role == "bank")
    assert record.name == "3 pictures"
    assert len(str(record.sha256)) == 64


def test_all_weights_are_looked_for_before_the_bank_is_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise UsageError("no such weights")

    monkeypatch.setattr("ovbench.adapters.regional.corrclip.load_clip", missing)
    with pytest.raises(UsageError, match="no such weights"):
        built(folder)
    assert not list((folder.parent / "cache").glob("corrclip-bank/*"))


def test_what_it_was_trained_with_is_that_of_both_clips_and_both_models() -> None:
    settings = {name: str(value) for name, value in CorrCLIP.presets["v2"].items()}
    for given, more in (({}, set()), (settings, {"DFN-2B", "WebLI", "LVD-142M"})):
        found = supervision_of(card_of("corrclip"), picks_of("corrclip"), given)
        assert found is not None
        own = {"MetaCLIP's 2.5 billion pairs", "ImageNet-1k", "SA-1B", "SA-V"}
        assert found.data.keys() == own | more
        assert not found.unknown


def test_pictures_are_turned_as_they_were_taken(folder: Path) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6
    image = np.zeros((20, 40, 3), np.uint8)
    Pillow.fromarray(image).save(folder / "0.png", exif=exif)
    archive: Archive = bank.pictures_of(str(folder))[0]
    assert archive.read(0).shape == (40, 20, 3)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"bank": None}, "support=bank needs --set bank=FOLDER"),
        ({"support": "none"}, "bank needs support=bank"),
        ({"vfm_view": "windows"}, "support=bank needs vfm_view=image"),
        ({"neighbours": 0}, "neighbours"),
        ({"regions": "sam_grid", "points_per_side": 1, "predicted_iou": 1000.0}, "none of its"),
        ({"vfm": "c_radio_v3_l", "vfm_reading": "query_key"}, "read behind its last block"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], said: str, folder: Path) -> None:
    given = {"bank": str(folder), **settings}
    with pytest.raises(UsageError, match=said):
        CorrCLIP(override(CorrCLIPSettings, {**V2, **given}), TOY)


@pytest.mark.parametrize("made", [True, False])
def test_a_folder_without_pictures_is_one_line(made: bool, tmp_path: Path) -> None:
    if made:
        (tmp_path / "none").mkdir()
    done = ovbench(
        *("run", "--method", "corrclip", "--dataset", "toyworld", "--limit", "1"),
        *("--checkpoints", "toy", "--device", "cpu", "--output", str(tmp_path / "out")),
        *(f"--set={name}={value}" for name, value in V2.items()),
        f"--set=bank={tmp_path / 'none'}",
    )
    assert done.returncode == 2
    assert ("holds no pictures" if made else "no such folder") in done.stderr
    assert "Traceback" not in done.stderr
