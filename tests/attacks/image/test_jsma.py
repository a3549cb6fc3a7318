"""JSMA against all pairs of pixels tried one by one, and against what its known ports get wrong."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from immunize.attacks.image import JSMA
from immunize.attacks.image.jsma import score
from immunize.attacks.victim import Victim
from immunize.batch import Batch
from immunize.models import Clip
from immunize.models.encode import encode_captions
from immunize.objectives import Bank
from immunize.rng import keys
from immunize.threats import Ball


def rng() -> Generator:
    return Generator().manual_seed(0)


def pixels(after: Tensor, before: Tensor) -> Tensor:
    return (after != before).flatten(2).any(dim=1).sum(dim=1)


def test_the_first_pair_by_hand(linear: Any, squares: Batch) -> None:
    """All 120 pairs of each image, the effect of each pixel known in closed form."""
    planes = (encode_captions(linear, squares.captions) @ linear.weight.detach()).view(4, 3, 4, 4)
    with Victim.of(linear, squares) as victim:
        x = squares.images.clone().requires_grad_()
        after = JSMA(Ball("l0", 2.0))._move(victim, x, victim.embed(x, victim.all), victim.all)
    logits = squares.images.flatten(1) @ planes.flatten(1).T
    for i, clean in enumerate(squares.images):
        aim = int(logits[i].masked_fill(torch.arange(4) == i, -torch.inf).argmax())
        lifts, others = planes[aim], (planes.sum(dim=0) - planes[aim]) / 3
        moved = ((lifts - others) > 0).float()
        a = (lifts * (moved - clean)).sum(dim=0).flatten()
        b = -(others * (moved - clean)).sum(dim=0).flatten()
        pairs = [(p, q) for p, q in combinations(range(16), 2) if a[p] + a[q] > 0 and b[p] + b[q] > 0]
        best = max(pairs, key=lambda pair: float((a[pair[0]] + a[pair[1]]) * (b[pair[0]] + b[pair[1]])))
        expected = clean.flatten(1).clone()
        expected[:, best] = moved.flatten(1)[:, best]
        assert torch.allclose(after[i], expected.view_as(clean), atol=1e-6)


def test_both_halves_of_the_map_count() -> None:
    """ART ignores the other texts (attacks.md 5.6): here the largest a has b < 0 and must lose."""
    a, b = torch.tensor([9.0, 2.0, 1.0, -1.0]), torch.tensor([-5.0, 3.0, 1.0, 9.0])
    assert score(a, b).argsort(descending=True).tolist() == [1, 2, 3, 0]
    assert score(a, b).tolist() == pytest.approx([-1 / 4, 6.0, 1.0, -1 / 8])
    assert score(torch.tensor([-1.0, 0.0]), torch.tensor([0.5, 0.0])).tolist() == [-torch.inf, -torch.inf]


def test_the_short_list_holds_the_best_of_all_pairs() -> None:
    """features^2 is 5 GB at 64 pixels (attacks.md 5.6); 48 pixels do."""
    a, b = (torch.randn(100, 300, generator=Generator().manual_seed(seed)) for seed in (1, 2))
    (chosen, good) = JSMA(Ball("l0", 2.0))._pair(a, b)
    sums = [(part[:, :, None] + part[:, None]).masked_fill(torch.eye(300).bool(), -torch.inf) for part in (a, b)]
    best = torch.where((sums[0] > 0) & (sums[1] > 0), sums[0] * sums[1], 0).flatten(1).amax(dim=1)
    found = a.gather(1, chosen).sum(dim=1) * b.gather(1, chosen).sum(dim=1)
    assert good.all() and (chosen[:, 0] != chosen[:, 1]).all()
    assert torch.allclose(found, best, rtol=1e-5)


@pytest.mark.parametrize("budget", [0.0, 1.0, 3.0, 8.0])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_budget_counts_pixels(trained: Clip, batch: Batch, budget: float, count: int) -> None:
    """Not channels (attacks.md 5.6), and a pair is cut where one pixel is left."""
    after = JSMA(Ball("l0", budget), pixels=count)(trained, batch, rng())
    moved = pixels(after.images, batch.images)
    assert (moved <= budget).all() and (budget == 0 or moved.max() > 0)


@pytest.mark.parametrize(("direction", "sign"), [("up", 1), ("down", -1)])
def test_one_direction_as_in_the_paper(trained: Clip, batch: Batch, direction: Any, sign: int) -> None:
    after = JSMA(Ball("l0", 10.0), direction=direction)(trained, batch, rng())
    assert (sign * (after.images - batch.images) >= 0).all() and not torch.equal(after.images, batch.images)


def test_theta_is_how_far_a_pixel_moves_at_once(trained: Clip, batch: Batch) -> None:
    one = JSMA(Ball("l0", 1.0), theta=0.25, pixels=1)(trained, batch, rng())
    assert one.outcome is not None
    delta = (one.images - batch.images).abs().flatten(1).amax(dim=1)
    steps = one.outcome.forwards - 1
    assert (delta <= 0.25 * steps + 1e-6).all() and steps.max() > 1 and (steps <= 3 * 5).all()


@pytest.mark.parametrize("count", [5, 20])
def test_any_number_of_texts(trained: Clip, batch: Batch, count: int) -> None:
    """A target hard-coded as (label + 1) % 10 fails with 5 classes and is silently wrong with 20 (attacks.md 5.6)."""
    texts = tuple(f"{caption} {number}" for number in range(2) for caption in batch.captions)[:count]
    nothing = torch.empty(0, dtype=torch.int64)
    some = replace(batch, captions=(), caption_ids=(), owner=nothing, gallery=texts, labels=torch.zeros(6).long())
    with Victim.of(trained, some) as victim:
        some = replace(some, labels=victim.logits(some.images, victim.all).argmax(dim=1))
    after = JSMA(Ball("l0", 200.0), pixels=8)(trained, some, rng())
    assert after.outcome is not None and after.outcome.success.all()


def test_towards_a_target(trained: Clip, batch: Batch) -> None:
    """Of each image the wrong text that ranks third, which an untargeted attack would not choose."""
    with Victim.of(trained, batch) as victim:
        wrong = victim.logits(victim.clean, victim.all).detach().masked_fill(victim.bank.own, -torch.inf)
    wanted = tuple(batch.captions[k] for k in wrong.argsort(dim=1, descending=True)[:, 2].tolist())
    after = JSMA(Ball("l0", 500.0), pixels=4, targeted=True)(trained, replace(batch, targets=wanted), rng())
    with Victim.of(trained, replace(after, targets=wanted, outcome=None), targeted=True) as victim:
        reached = victim.query(victim.clean, victim.all).success
    assert after.outcome is not None and torch.equal(after.outcome.success, reached) and reached.any()


def test_what_is_fooled_leaves_and_the_others_do_not_notice(trained: Clip, batch: Batch) -> None:
    attack = JSMA(Ball("l0", 12.0))
    whole, alone = attack(trained, batch, rng()), attack(trained, batch.take(torch.tensor([3])), rng())
    assert whole.outcome is not None and len(whole.outcome.forwards.unique()) > 1
    assert torch.allclose(alone.images[0], whole.images[3], atol=1e-6)


@pytest.mark.parametrize(("direction", "theta"), [("both", 1.0), ("up", 1.0), ("down", 0.3), ("both", 0.3)])
def test_no_gradient_is_taken_where_nothing_can_move(
    trained: Clip, batch: Batch, monkeypatch: pytest.MonkeyPatch, direction: Any, theta: float
) -> None:
    """With saturated pixels, of which a channel that stood at its face may yet move the other way."""
    hard = replace(batch, images=batch.images.where((batch.images - 0.5).abs() < 0.3, batch.images.round()))
    attack = JSMA(Ball("l0", 3.0), direction=direction, theta=theta)
    after = attack(trained, hard, rng())
    monkeypatch.setattr(JSMA, "spent", lambda self, x, clean: torch.zeros(len(x), dtype=torch.bool))
    before = attack(trained, hard, rng())
    assert after.outcome is not None and before.outcome is not None
    assert torch.equal(after.images, before.images) and torch.equal(after.outcome.success, before.outcome.success)
    assert torch.equal(after.outcome.forwards, before.outcome.forwards)
    failed = ~after.outcome.success
    assert failed.any() and (after.outcome.backwards <= before.outcome.backwards).all()
    if theta == 1.0:  # one move takes a channel to its face
        assert (after.outcome.backwards < before.outcome.backwards)[failed].any()


def test_memory_is_linear_in_the_number_of_pixels() -> None:
    """84 GiB at 224 pixels elsewhere (torchattacks issue 187)."""
    clean = torch.rand(2, 3, 224, 224, generator=rng())
    weight = torch.randn(4, 3 * 224 * 224, generator=rng()) / 100
    logits = clean.flatten(1) @ weight.T
    own = torch.nn.functional.one_hot(logits.argmax(dim=1), 4).bool()
    victim = Victim(
        lambda x: x.flatten(1) @ weight.T, clean, Bank(torch.eye(4), own, torch.tensor(1.0)), keys(["a", "b"])
    )
    best = JSMA(Ball("l0", 40.0)).search(victim)
    assert 0 < pixels(best.x, clean).max() <= 40 and best.value.isfinite().all()


def test_the_norm_is_checked() -> None:
    with pytest.raises(ValueError, match="threat"):
        JSMA(Ball("l2", 1.0))
