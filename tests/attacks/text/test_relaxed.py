"""Relaxed text: projections against their definitions, mixtures against finite differences, corners against captions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor

from immunize.attacks.text import Relaxed
from immunize.attacks.text.draft import Draft
from immunize.attacks.text.relaxed_text import RelaxedText, less_mixed, simplex
from immunize.attacks.text.rules import Edit
from immunize.batch import Batch
from immunize.models import Clip
from immunize.models.encode import encode_captions, encode_images
from immunize.threats import Edits

ROWS = st.lists(st.floats(-3, 3, width=32), min_size=2, max_size=8)
FREE = Edits(words=2, same_meaning=False)


def bisected(row: Tensor) -> Tensor:
    """The projection onto the simplex by the definition: max(x - t, 0) with the t that makes it sum to 1."""
    low, high = row.min() - 1, row.max()
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if (row - middle).clamp(min=0).sum() > 1 else (low, middle)
    return (row - low).clamp(min=0)


@given(ROWS)
def test_simplex_against_bisection(row: list[float]) -> None:
    x = torch.tensor([row], dtype=torch.float64)
    assert torch.allclose(simplex(x, torch.ones_like(x, dtype=torch.bool))[0], bisected(x[0]), atol=1e-6)


@given(ROWS, st.data())
def test_simplex_over_what_is_real(row: list[float], data: st.DataObject) -> None:
    """As if the other entries were not there."""
    size = data.draw(st.integers(1, len(row)))
    x, real = torch.tensor([row]), torch.arange(len(row))[None] < size
    found = simplex(x, real)
    assert torch.allclose(found[:, :size], simplex(x[:, :size], real[:, :size]), atol=1e-5)
    assert not found[:, size:].any() and found.sum().item() == pytest.approx(1, abs=1e-5)


@given(ROWS, st.floats(0, 1, width=32))
def test_entropy_projection(row: list[float], factor: float) -> None:
    """On the simplex, never more mixed, the order kept, and below the bound where it need not be cut off at 0."""
    x = torch.tensor([row], dtype=torch.float64)
    real = torch.ones_like(x, dtype=torch.bool)
    before = simplex(x, real)
    after = less_mixed(before, real, factor)
    assert (after >= 0).all() and after.sum().item() == pytest.approx(1, abs=1e-6)
    assert after.square().sum() >= before.square().sum() - 1e-9
    assert not (before[0, :, None] > before[0] + 1e-6).logical_and(after[0, :, None] < after[0] - 1e-6).any()
    count = int((before > 0).sum())
    even = (before.max() - before[before > 0].min()) < 1e-5
    if count > 1 and not even and (after > 0).sum() == count:
        assert 1 - after.square().sum() <= (1 - factor) * (1 - 1 / count) + 1e-6


def test_entropy_projection_by_hand() -> None:
    """(0.6, 0.4) at factor 0.36: sum x^2 = 1 - 0.64 * 0.5 = 0.68, so the distance to the middle is sqrt(0.18)."""
    x = torch.tensor([[0.6, 0.4]])
    assert torch.allclose(less_mixed(x, x > 0, 0.36), torch.tensor([[0.8, 0.2]]), atol=1e-6)
    assert torch.equal(less_mixed(x, x > 0, 0.0), x)
    assert torch.equal(less_mixed(torch.tensor([[0.5, 0.5]]), x > 0, 0.9), torch.tensor([[0.5, 0.5]]))  # no direction


def relaxed(draft: Draft) -> RelaxedText:
    """The first two open places of each caption, each with words of the batch, as many pieces as its own first."""
    size = {word: len(draft.tokens.pieces(word)) for words in draft.words for word in words}
    choices: dict[tuple[int, int], list[str]] = {}
    for c, p in draft.rules.open():
        own = draft.words[c][p]
        same = [word for word in size if size[word] == size[own] and word != own]
        if same and sum(c == caption for caption, _ in choices) < 2:
            choices[c, p] = [same[p % len(same)], "zqxjzqxj"]
    return RelaxedText(draft, choices)


def test_a_corner_is_the_caption_with_those_words(trained: Clip, batch: Batch) -> None:
    """Exactly so where word and candidate have as many pieces."""
    with Draft.of(trained, batch, FREE, None) as draft:
        text = relaxed(draft)
        assert torch.allclose(text.encode(), draft.text, atol=1e-5)  # it starts at the words themselves
        assert text.discretize() == [] and len(text) > len(batch)
        text.weights = torch.zeros_like(text.weights)
        text.weights[:, 1] = 1
        rewrites = {r.caption: r for r in text.discretize()}  # the last has both words
        captions = [" ".join(rewrites[c].words) if c in rewrites else t for c, t in enumerate(batch.captions)]
        assert captions != list(batch.captions)
        assert torch.allclose(text.encode(), encode_captions(trained, captions), atol=1e-5)


def test_spelled_by_hand(trained: Clip, batch: Batch) -> None:
    """Budget 2, three places: the leading one, the leading two, and the second alone."""
    one = batch.take(torch.tensor([0]))
    with Draft.of(trained, one, FREE, None) as draft:
        places = [place for place in draft.rules.open() if place[0] == 0][:3]
        text = RelaxedText(draft, {place: ["red", "ball"] for place in places})
        text.weights = torch.tensor([[0.5, 0.4, 0.1], [0.2, 0.1, 0.7], [0.9, 0.1, 0.0]])
        words = draft.words[0]
        first, second = (places[1][1], "ball"), (places[0][1], "red")

        def spelled(*changes: tuple[int, str]) -> tuple[str, ...]:
            return tuple(dict(changes).get(p, word) for p, word in enumerate(words))

        found = [rewrite.words for rewrite in text.discretize(tries=2)]
        assert found == [spelled(first), spelled(first, second), spelled(second)]


def test_the_gradient_of_a_mixture_against_finite_differences(trained: Clip, batch: Batch) -> None:
    with Draft.of(trained, batch, FREE, None) as draft, torch.enable_grad():
        text = relaxed(draft)
        text.weights = (text.weights + text.real * 0.3).requires_grad_()
        value = -(draft.guide * text.encode()).sum()
        (gradient,) = torch.autograd.grad(value, text.weights)
        middle, direction = text.weights.detach(), torch.randn(gradient.shape, generator=Generator()) * text.real
        ends = []
        for h in (1e-2, -1e-2):
            text.weights = middle + h * direction
            ends.append(-(draft.guide * text.encode()).sum())
        assert (gradient * direction).sum().item() == pytest.approx(
            ((ends[0] - ends[1]) / 2e-2).item(), rel=0.03, abs=1e-3
        )


def test_a_step_stays_on_the_simplex_and_within_the_budget(trained: Clip, batch: Batch) -> None:
    with Draft.of(trained, batch, Edits(words=1, same_meaning=False), None) as draft:
        text = relaxed(draft)
        text.lr = 1.0
        for k in range(8):
            text.ascend(
                torch.rand(text.weights.shape, generator=Generator().manual_seed(k)) - text.start, entropy=k / 8
            )
            assert (text.weights >= -1e-6).all() and not text.weights[~text.real].any()
            assert torch.allclose(text.weights.sum(dim=1), torch.ones(len(text)), atol=1e-4)
            moved = torch.zeros(len(batch.captions)).index_add(0, text.caption, 1 - text.weights[:, 0])
            assert (moved <= 1 + 1e-4).all()
        assert (moved > 0.9).any()


def test_more_steps_are_never_weaker_and_the_words_come_from_the_choices(
    trained: Clip, batch: Batch, language_folder: str
) -> None:
    found = {}
    for steps in (0, 2, 12):
        after = Relaxed(FREE, language_folder, candidates=8, steps=steps)(trained, batch, Generator())
        image = encode_images(trained, batch.images)[batch.owner]
        found[steps] = -(image * encode_captions(trained, after.captions)).sum(dim=1)
    assert (found[12] >= found[2] - 1e-6).all() and (found[2] >= found[0] - 1e-6).all()
    assert (found[12] > found[0] + 1e-3).any()


def test_it_comes_near_exhaustive_search(trained: Clip, batch: Batch, language_folder: str) -> None:
    """One word among all choices: never above the best single edit, on average most of the way there."""
    threat = Edits(same_meaning=False)
    attack = Relaxed(threat, language_folder, candidates=8, steps=25)
    after = attack(trained, batch, Generator())
    image = encode_images(trained, batch.images)[batch.owner]
    reached = -(image * encode_captions(trained, after.captions)).sum(dim=1)
    with Draft.of(trained, batch, threat, None) as draft:
        before = draft.value.clone()
        choices = RelaxedText(draft, attack.choices(draft, [0] * len(batch.captions)))
        draft.improve(
            draft.allowed(Edit(c, p, new) for (c, p), words in zip(choices.places, choices.words) for new in words[1:])
        )
        assert (reached <= draft.value + 1e-5).all()
        assert (reached - before).sum() >= 0.7 * (draft.value - before).sum()
