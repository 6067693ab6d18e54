"""The catalogue against itself and against open_clip's own table."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from ovbench.errors import UsageError
from ovbench.models.weights.catalogue import (
    ENTRIES,
    LAYOUTS,
    Entry,
    OfficialFile,
    Repository,
    look_up,
)

OFFICIAL = [entry for entry in ENTRIES if isinstance(entry.source, OfficialFile)]


def test_names_are_unique_within_a_role() -> None:
    (most,) = Counter((entry.role, entry.name) for entry in ENTRIES).most_common(1)
    assert most[1] == 1


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_entry_is_found_and_complete(entry: Entry) -> None:
    assert look_up(entry.role, entry.name) == entry
    assert entry.licence
    assert entry.summary
    assert entry.size is None or entry.size > 0


def test_the_page_on_weights_has_every_gated_one() -> None:
    text = (Path(__file__).parents[3] / "docs" / "weights.md").read_text(encoding="utf-8")
    row = re.compile(r"\| `(\S+)` \| (.+?) \| <(https://\S+)> \| .+ \|")
    told = {name: (licence, page) for name, licence, page in row.findall(text)}
    expected = {}
    for entry in ENTRIES:
        assert entry.gated == entry.licence.endswith(", gated")
        if entry.gated:
            source = entry.source
            if isinstance(source, Repository):
                page = f"https://huggingface.co/{source.id}"
            else:
                page = source.url
            expected[f"{entry.role}/{entry.name}"] = (entry.licence.removesuffix(", gated"), page)
    assert told == expected


WITH_DIGESTS = {"talk2dino_vitb", "talk2dino_dinov3_vitb"}


@pytest.mark.parametrize("entry", OFFICIAL, ids=lambda entry: entry.name)
def test_official_files_have_an_address_and_a_whole_digest(entry: Entry) -> None:
    assert isinstance(entry.source, OfficialFile)
    assert entry.source.url.startswith("https://")
    if entry.role in ("sam", "saliency", "floss") or entry.name in WITH_DIGESTS:
        assert re.fullmatch("[0-9a-f]{64}", entry.source.sha256 or "")
        assert entry.size
    else:  # whoever adds one that is stated takes its role above
        assert entry.source.sha256 is None


@pytest.mark.parametrize("role", sorted({*LAYOUTS} - {"tokenizer"}))
def test_layouts_prefer_safetensors_and_take_pickles(role: str) -> None:
    weights = [need for need in LAYOUTS[role] if need[0] and need[0][0].endswith(".safetensors")]
    assert weights
    assert all(need[1][0].endswith(".bin") for need in weights)


def test_clips_are_those_of_open_clip() -> None:
    from open_clip.pretrained import get_pretrained_cfg

    for entry in ENTRIES:
        if entry.role == "clip":
            assert isinstance(entry.source, Repository)
            hub = get_pretrained_cfg(*entry.name.split())["hf_hub"]
            assert hub == f"{entry.source.id}/"


def test_any_hub_id_has_its_roles_layout() -> None:
    assert look_up("blip", "owner/name").source == Repository("owner/name", LAYOUTS["blip"])
    of_branch = look_up("dino", "a/b@refs/pr/4")
    assert of_branch.source == Repository("a/b@refs/pr/4", LAYOUTS["dino"])
    assert (of_branch.licence, of_branch.size) == ("", None)


@pytest.mark.parametrize(
    ("role", "name", "hint"),
    [
        ("blip", "blip_flicker", "did you mean 'blip_flickr'.*any hub id"),
        ("dino", "zzz", "there are: dino_vitb8, .*any hub id"),
        ("dino", "a/b/c", "there are"),
        ("tcl", "tcl_vitb15", r"did you mean 'tcl_vitb16'\?$"),
        ("sam", "sam2.1_hiera_larg", r"did you mean 'sam2.1_hiera_large'\?, and any hub id"),
        ("tcl", "owner/tcl", "no tcl checkpoint 'owner/tcl'"),
    ],
)
def test_an_unknown_name_gets_a_suggestion(role: str, name: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        look_up(role, name)


def test_what_is_loaded_beside_a_checkpoint_is_there() -> None:
    for entry in ENTRIES:
        for other in entry.beside:
            assert look_up(*other.split("/", 1))


def test_a_clip_outside_the_catalogue_is_where_open_clip_has_it() -> None:
    found = look_up("clip", "ViT-B-32 laion400m_e32@v1")
    assert isinstance(found.source, Repository)
    assert found.source.id.endswith("@v1")
    assert found.source.id.count("/") == 1
    with pytest.raises(UsageError, match="did you mean 'openai'"):
        look_up("clip", "ViT-B-32 openal")


def test_a_name_of_the_catalogue_may_be_pinned() -> None:
    found = look_up("dinov2", "dinov2_base@v1")
    assert isinstance(found.source, Repository)
    assert (found.source.id, found.licence) == ("facebook/dinov2-base@v1", "apache-2.0")
    with pytest.raises(UsageError, match="no sam checkpoint"):
        look_up("sam", "sam_vit_b@v1")


@pytest.mark.parametrize("name", ["/tmp", "./mine", "~/mine", "../a/b"])
@pytest.mark.parametrize("role", ["clipseg", "sam3", "sam"])
def test_a_folder_is_no_hub_id(role: str, name: str) -> None:
    with pytest.raises(UsageError, match=f"'{name}' is a path; a {role} checkpoint is "):
        look_up(role, name)
