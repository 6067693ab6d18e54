"""What both image-text matchers must do alike."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from matchers import CLASSES, PATCH, POSITIONS, SIZE, pictures, wrap

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Precision
from ovbench.models import precision
from ovbench.models.matchers.matcher import Matcher

TEXTS = ["a cat", "the red sofa on a traffic light", "dog"]
NEAR = {"rtol": 1e-4, "atol": 1e-4}
"""Logits of other batch shapes: sums in another order, which these weights amplify."""
FAR = 1e-2
"""Logits further apart than this are different."""


@pytest.fixture(params=list(CLASSES))
def role(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def matcher(role: str, tmp_path: Path) -> Matcher:
    return wrap(role, tmp_path)


def test_prompt_is_the_joined_text_and_knows_its_names(matcher: Matcher) -> None:
    names = ["cat", "traffic light", "unheard", "dog"]
    (prompt,) = matcher.prompts(names)
    text = "A picture of cat traffic light unheard dog"
    assert list(prompt.token_ids) == matcher._tokenizer(text).input_ids
    assert prompt.positions == ((4,), (5, 6), (7,), (8,))


def test_names_that_do_not_fit_go_into_further_prompts(matcher: Matcher) -> None:
    assert matcher.max_tokens == POSITIONS
    names = ["traffic light", "cat"] * 15
    prompts = matcher.prompts(names, prefix="a picture")
    assert [len(prompt.positions) for prompt in prompts] == [13, 13, 4]
    words = [token for prompt in prompts for token in prompt.token_ids[3:-1]]
    assert words == matcher._tokenizer(" ".join(names), add_special_tokens=False).input_ids
    for prompt in prompts:
        assert len(prompt.token_ids) <= POSITIONS
        assert prompt.token_ids[:3] == prompts[0].token_ids[:3]
        assert [i for word in prompt.positions for i in word] == list(
            range(3, len(prompt.token_ids) - 1)
        )
    assert matcher.prompts([]) == []


@pytest.mark.parametrize(("name", "count"), [("!!", 0), ("cat " * POSITIONS, POSITIONS)])
def test_a_name_that_cannot_be_prompted_is_named(matcher: Matcher, name: str, count: int) -> None:
    with pytest.raises(UsageError, match=f"class name '{name}' makes {count} tokens"):
        matcher.prompts(["cat", name])


@pytest.mark.parametrize("size", [(SIZE, SIZE), (48, 24)])
def test_shapes_and_sums(matcher: Matcher, size: tuple[int, int]) -> None:
    features = matcher.encode_images(pictures(2, *size))
    grid = (size[0] // PATCH, size[1] // PATCH)
    assert len(features) == 2
    assert features.grid == grid
    (prompt,) = matcher.prompts(["cat", "dog"])
    seen = matcher.cross_attention(features, [prompt, prompt], 1)
    shape = (2, matcher.heads, len(prompt.token_ids), *grid)
    assert seen.probabilities.shape == seen.gradients.shape == shape
    total = seen.probabilities.sum(dim=(-1, -2))
    assert (total < 1).all()  # the class token has the rest
    assert (total > 0.5).all()
    assert not seen.probabilities.requires_grad
    assert not seen.gradients.requires_grad
    assert not seen.logits.requires_grad


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_gradients_are_the_full_backward_passs_to_the_bit(
    matcher: Matcher, layer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What has a gradient is added up in another order than what has none.
    monkeypatch.setattr(precision, "_ONEDNN", False)
    images = pictures(2)
    (prompt,) = matcher.prompts(["cat", "dog"])
    seen = matcher.cross_attention(matcher.encode_images(images), [prompt] * 2, layer)
    matcher._model.requires_grad_(True)
    kept: list[torch.Tensor] = []

    def keep(_: object, __: object, output: tuple[torch.Tensor, torch.Tensor]) -> None:
        output[1].retain_grad()
        kept.append(output[1])

    hook = matcher._attention(layer).register_forward_hook(keep)
    features = matcher.encode_images.__wrapped__(matcher, images)  # without its no_grad
    logits = matcher._match(features, torch.tensor([prompt.token_ids] * 2))[:, 1]
    logits.sum().backward()
    hook.remove()
    (probabilities,) = kept
    assert next(iter(matcher._model.parameters())).grad is not None  # it went all the way down
    expected = probabilities.grad[..., 1:].unflatten(-1, features.grid)
    assert seen.gradients.abs().max() > 0
    assert torch.equal(seen.gradients, expected)
    assert torch.equal(seen.probabilities, probabilities[..., 1:].unflatten(-1, features.grid))
    assert torch.equal(seen.logits, logits)


def test_nothing_below_the_layer_is_kept_or_run_backward(matcher: Matcher) -> None:
    features = matcher.encode_images(pictures(1))
    saved: list[int] = []

    def count(tensor: torch.Tensor) -> torch.Tensor:
        saved[-1] += tensor.numel()
        return tensor

    for layer in range(matcher.layers):
        saved.append(0)
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            matcher.cross_attention(features, matcher.prompts(["cat"]), layer)
    assert saved == sorted(saved, reverse=True)
    assert saved[-1] < 0.6 * saved[0]
    assert all(parameter.grad is None for parameter in matcher._model.parameters())


def test_an_image_is_judged_alone_whatever_the_batch(matcher: Matcher) -> None:
    """Within 1e-4 of the largest value: other shapes sum in another order."""
    images = pictures(3)
    prompts = [matcher.prompts(names)[0] for names in (["cat"], ["dog", "traffic light"], ["sofa"])]
    features = matcher.encode_images(images)
    together = matcher.cross_attention(features, prompts, 1)
    match = matcher.match(features, TEXTS)
    for index, prompt in enumerate(prompts):
        single = matcher.encode_images(images[index : index + 1])
        alone = matcher.cross_attention(single, [prompt], 1)
        length = len(prompt.token_ids)
        for ours, theirs in zip(alone[:2], together[:2], strict=True):
            error = (ours[0] - theirs[index, :, :length]).abs().max()
            assert error < 1e-4 * ours.abs().max()
        torch.testing.assert_close(alone.logits[0], together.logits[index], **NEAR)
        torch.testing.assert_close(
            matcher.match(single, TEXTS).logits[0], match.logits[index], **NEAR
        )


def test_a_text_is_judged_alone_whatever_the_padding(
    matcher: Matcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = matcher.encode_images(pictures(2))
    match = matcher.match(features, TEXTS)
    assert match.logits.shape == (2, 3)
    assert match.logits.std(dim=1).min() > FAR
    assert match.logits.std(dim=0).min() > FAR
    for index, text in enumerate(TEXTS):
        alone = matcher.match(features, [text])
        torch.testing.assert_close(alone.logits[:, 0], match.logits[:, index], **NEAR)
    monkeypatch.setattr("ovbench.models.matchers.matcher.TEXTS_PER_PASS", 2)
    torch.testing.assert_close(matcher.match(features, TEXTS).logits, match.logits, **NEAR)


def test_matching_agrees_with_attending(matcher: Matcher) -> None:
    features = matcher.encode_images(pictures(2))
    (prompt,) = matcher.prompts(["cat", "dog"])
    logits = matcher.cross_attention(features, [prompt] * 2, 0).logits
    match = matcher.match(features, ["A picture of cat dog"])
    torch.testing.assert_close(match.logits[:, 0], logits, **NEAR)
    assert ((match.probabilities > 0) & (match.probabilities < 1)).all()


def test_overlong_texts_are_cut(matcher: Matcher) -> None:
    features = matcher.encode_images(pictures(1))
    inside = "cat " * (POSITIONS - 2)
    match = matcher.match(features, [inside, inside + "dog dog"])
    torch.testing.assert_close(match.logits[0, 0], match.logits[0, 1])


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_the_image_towers_alone(
    role: str, tmp_path: Path, precision: Precision
) -> None:
    full, half = wrap(role, tmp_path), wrap(role, tmp_path, precision)
    images = pictures(2, 48, 48)
    (prompt,) = full.prompts(["cat", "dog"])
    seen = [m.cross_attention(m.encode_images(images), [prompt] * 2, 1) for m in (full, half)]
    assert all(x.dtype == torch.float32 for x in seen[1])
    probabilities = [x.probabilities.flatten() for x in seen]
    assert not torch.equal(*probabilities)
    assert torch.corrcoef(torch.stack(probabilities))[0, 1] > 0.99


def test_misuse_is_refused(matcher: Matcher) -> None:
    with pytest.raises(ValueError, match="33x32 is no multiple of the patch 8"):
        matcher.encode_images(pictures(1, 33, 32))
    features = matcher.encode_images(pictures(2))
    (prompt,) = matcher.prompts(["cat"])
    with pytest.raises(ValueError, match=r"layer 3 is not one of 0\.\.2"):
        matcher.cross_attention(features, [prompt] * 2, 3)
    with pytest.raises(ValueError, match="1 prompts for 2 images"):
        matcher.cross_attention(features, [prompt], 0)
