"""The evolved sets beside JSMA's, and the mechanics of evolution."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Generator

from immunize.attacks.image import DEJSMA, JSMA
from immunize.attacks.image.de_jsma import _first, _three
from immunize.batch import Batch
from immunize.models import Clip
from immunize.threats import Ball

SMALL = DEJSMA(Ball("l0", 12.0), queries=120, population=12)


def rng() -> Generator:
    return Generator().manual_seed(0)


def test_fewer_pixels_than_jsma_at_no_less_success(trained: Clip, batch: Batch) -> None:
    greedy, evolved = JSMA(SMALL.threat)(trained, batch, rng()), SMALL(trained, batch, rng())
    assert greedy.outcome is not None and evolved.outcome is not None
    both = greedy.outcome.success
    assert (evolved.outcome.success >= both).all() and both.any()
    ours, bar = (SMALL.threat.distance(x.images, batch.images)[both] for x in (evolved, greedy))
    assert (ours <= bar).all() and ours.sum() < bar.sum()


def test_more_generations_are_never_worse(trained: Clip, batch: Batch) -> None:
    few, many = (replace(SMALL, queries=queries)(trained, batch, rng()) for queries in (24, 120))
    assert few.outcome is not None and many.outcome is not None
    assert (many.outcome.success >= few.outcome.success).all()
    ours, bar = (SMALL.threat.distance(x.images, batch.images) for x in (many, few))
    assert (ours <= bar)[few.outcome.success].all()


def test_queries_are_counted_and_without_them_it_is_jsma(trained: Clip, batch: Batch) -> None:
    greedy, none = JSMA(SMALL.threat)(trained, batch, rng()), replace(SMALL, queries=11)(trained, batch, rng())
    evolved = SMALL(trained, batch, rng())
    assert greedy.outcome is not None and none.outcome is not None and evolved.outcome is not None
    assert torch.equal(none.images, greedy.images) and torch.equal(none.outcome.forwards, greedy.outcome.forwards)
    extra = evolved.outcome.forwards - greedy.outcome.forwards
    small = greedy.outcome.success & (SMALL.threat.distance(greedy.images, batch.images) <= 1)
    assert extra[small].tolist() == [0] * int(small.sum()) and set(extra[~small].tolist()) == {1 + 120}


def test_only_candidates_move_and_only_to_their_color(trained: Clip, batch: Batch) -> None:
    after = replace(SMALL, candidates=3)(trained, batch, rng())
    greedy = JSMA(SMALL.threat)(trained, batch, rng())
    assert after.outcome is not None and greedy.outcome is not None
    moved = (after.images != batch.images).flatten(2).any(dim=1).sum(dim=1)
    better = (after.images != greedy.images).flatten(1).any(dim=1)
    assert (moved[better] <= 3).all()


def test_the_first_member_is_the_set_of_jsma() -> None:
    touched = torch.tensor([[True, True, False, False]])
    draws = torch.rand(1, 200, 4, generator=rng())
    on = _first(draws, touched) > 0.5
    assert torch.equal(on[0, 0], touched[0])
    share = on[0, 100:].float().mean(dim=0)
    assert (share[:2] > 0.4).all() and (share[:2] < 0.9).all() and (share[2:] < 0.2).all()


def test_three_different_members() -> None:
    found = _three(torch.rand(50, 40, 3, generator=rng()), 5)
    assert found.min() == 0 and found.max() == 4
    assert (found[..., 0] != found[..., 1]).all() and (found[..., 1] != found[..., 2]).all()
    assert (found[..., 0] != found[..., 2]).all()
    triples = (found * torch.tensor([25, 5, 1])).sum(dim=2).flatten().bincount(minlength=125)
    assert (triples > 0).sum() == 5 * 4 * 3


def test_the_norm_is_checked() -> None:
    with pytest.raises(ValueError, match="threat"):
        DEJSMA(Ball("linf", 0.1))
