"""What a method's card says, and that it is read without importing anything."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovbench.errors import UsageError
from ovbench.harness.contract.card import MethodCard, Pick, picked
from ovbench.harness.contract.published import PUBLISHED
from ovbench.harness.contract.settings import resolved
from ovbench.harness.registry.glance import card_of, needs_exemplars, preset_names
from ovbench.harness.registry.methods import load_method
from ovbench.harness.registry.names import METHODS, Registry
from ovbench.harness.registry.picking import picks_of
from ovbench.harness.registry.presets import published_rows
from ovbench.models.patches.saliency import BACKBONE
from ovbench.models.weights import packaged
from ovbench.models.weights.catalogue import look_up
from ovbench.models.weights.inventory import item_of

BUILTIN = [name for name, entry in METHODS.entries.items() if entry.package == "ovbench"]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Register a method of another package whose class has this body, and fails to import."""

    def write(name: str, body: str) -> None:
        source = f"import no_such_module\n\n\nclass Method:\n    {body}\n"
        module = tmp_path.name  # another one for every test: sources are read once
        (tmp_path / f"{module}.py").write_text(source)
        point = EntryPoint(name, f"{module}:Method", "ovbench.methods")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr("ovbench.harness.registry.names.entry_points", lambda group: [point])
        registry = Registry("method", "ovbench.methods", {})
        for user in ("glance", "methods"):
            monkeypatch.setattr(f"ovbench.harness.registry.{user}.METHODS", registry)

    return write


@pytest.mark.parametrize("name", BUILTIN)
def test_a_card_read_from_source_is_the_class_s_own(name: str) -> None:
    method = METHODS.load(name)
    assert card_of(name) == method.card
    assert needs_exemplars(name) == getattr(method, "needs_exemplars", False)
    presets = preset_names(name)
    known = {*getattr(method, "presets", {}), *([PUBLISHED] if published_rows(method) else [])}
    assert set(presets) <= known
    assert bool(presets) == bool(known)


# Where the miniature of a whole network is a part that stands on another: LSeg's neck.
MINIATURES_ON_OTHERS = {"lseg": {"dino"}}


@pytest.mark.parametrize("name", BUILTIN)
def test_a_card_names_the_weights_that_the_defaults_load(name: str) -> None:
    card = card_of(name)
    assert card is not None
    roles = {weight.partition("/")[0] for weight in card.weights}
    if lacking := roles - {*packaged.roles()}:
        with pytest.raises(UsageError, match=f"no miniature of ({'|'.join(lacking)});"):
            load_method(name, checkpoints="toy", device="cpu")
        settings = resolved(METHODS.load(name).Settings())
    else:
        loaded = load_method(name, checkpoints="toy", device="cpu").subject
        stands_on = MINIATURES_ON_OTHERS.get(name, set())
        assert roles | stands_on == {record.role for record in loaded.checkpoints}
        settings = loaded.settings
    chosen = {pick.checkpoint({}) for pick in picks_of(name)}
    beside = {other for w in chosen & {*card.weights} for other in look_up(*w.split("/", 1)).beside}
    assert {*card.weights} <= chosen | beside, "a setting that chooses weights says so by picks"
    words = {BACKBONE, *map(str, settings.values())}
    for weight in card.weights:
        item = item_of(weight)
        assert item is not None
        assert set(item.name.split()) <= words, f"{item.name} is no default of {name}"


def test_packages_that_are_missing_are_named_before_anything_is_imported(
    written: Callable[[str, str], None],
) -> None:
    written(
        "needy",
        "card = MethodCard(summary='s', kind='floor', packages=('numpy', 'ovbench-absent'))",
    )
    assert card_of("needy") == MethodCard(
        summary="s", kind="floor", packages=("numpy", "ovbench-absent")
    )
    with pytest.raises(UsageError, match=r"needy needs .*`pip install ovbench-absent`"):
        load_method("needy")


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("card = MethodCard('summary', 'floor')", "is not written as MethodCard"),
        ("card = MethodCard(summary=str(1), kind='floor')", r"summary=str\(1\) is no literal"),
        ("card = MethodCard(summary='s', kind='best')", "kind='best' is none of training-free,"),
        ("card = MethodCard(summary='s', kind='floor', backbones='CLIP')", "no tuple of words"),
        ("card = MethodCard(summary=1, kind='floor')", "summary=1 is no text"),
        ("card = MethodCard(summary='s', kind='floor', trained=('a',))", "is no dictionary"),
        (
            "card = MethodCard(summary='s', kind='floor', trained={'COCO': 'pixels'})",
            "'pixels' is none of images, captions",
        ),
        ("card = MethodCard(kind='floor')", "missing 1 required keyword-only argument"),
        ("card = MethodCard(summary='s', kind='floor', colour='red')", "unexpected keyword"),
    ],
)
def test_a_card_that_cannot_be_read_is_one_line(
    written: Callable[[str, str], None], body: str, fault: str
) -> None:
    written("odd", body)
    with pytest.raises(UsageError, match=f"the card of odd, of package unknown: .*{fault}"):
        card_of("odd")


def test_a_method_without_a_card_has_none(written: Callable[[str, str], None]) -> None:
    written("plain", "presets = {'a': {}}")
    assert card_of("plain") is None
    assert preset_names("plain") == ["a"]


def test_what_is_known_of_a_checkpoint() -> None:
    assert item_of("sam/no_such") is None
    assert item_of("no_role/a") is None
    of_hub = item_of("dino/somebody/something")
    assert of_hub is not None
    assert (of_hub.licence, of_hub.path) == ("", None)


def test_what_chooses_weights_is_read_from_source(
    written: Callable[[str, str], None], tmp_path: Path
) -> None:
    body = """
    class Settings(Base):
        width: int = setting(3, "s", "h")
        kind: str = setting("a", "s", "h", picks=KINDS)
        other: str = setting("b", "s", "h", picks="sam/{other}")
        made: str = setting("b", "s", "h", picks=make())
        maybe: str = setting("m", "s", "h", picks="sam/{maybe}", when={"kind": ("b", "c")})
"""
    head = """
from ovbench.harness.contract.settings import setting

KINDS = {"a": "dino/x", "b": "sam/y"}


class Base:
    other: str = setting("base", "s", "h", picks="clip/{architecture} {other}")
    lone: str = setting("l", "s", "h", picks="clip/{nowhere} {lone}")
"""
    written("chooser", "pass")
    (source,) = tmp_path.glob("*.py")
    source.write_text(f"{head}\n\nclass Method:{body}")
    # What cannot be read, or names no setting, is left out.
    kind, other, maybe = picks_of("chooser")
    assert (kind.defaults, kind.checkpoint({})) == ({"kind": "a"}, "dino/x")
    assert kind.values("sam/y") == {"kind": "b"}
    assert kind.values("sam/z") is None
    assert kind.checkpoint({"kind": "c"}) is None
    assert (other.checkpoint({"other": "v"}), other.checkpoint({"other": "random"})) == (
        "sam/v",
        None,
    )
    assert other.values("sam/v") == {"other": "v"}
    assert maybe.reads == {"kind": "a", "maybe": "m"}
    assert maybe.checkpoint({"maybe": "v"}) is None
    assert maybe.checkpoint({"kind": "b"}) == "sam/m"
    assert maybe.values("sam/v") == {"kind": "b", "maybe": "v"}
    weights = ["dino/x", "sam/b"]
    assert picked(weights, [kind, other, maybe], {"maybe": "v"}) == weights
    chosen = picked(weights, [kind, other, maybe], {"kind": "b"})
    assert chosen == ["sam/b", "sam/y", "sam/m"]


@given(st.text("ab-_.1", min_size=1), st.text("ab-_.1", min_size=1))
def test_a_checkpoint_and_its_settings_say_each_other(first: str, second: str) -> None:
    pick = Pick("clip/{architecture} {pretrained}", {"architecture": "x", "pretrained": "y"})
    values = {"architecture": first, "pretrained": second}
    name = pick.checkpoint(values)
    assert name is not None
    assert pick.values(name) == values
