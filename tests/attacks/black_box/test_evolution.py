"""Genetic and one-pixel search: their operators by hand, and an optimum that is known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from immunize.attacks.black_box import Genetic, OnePixel
from immunize.attacks.black_box.one_pixel import mix, paint
from immunize.attacks.victim import Victim
from immunize.objectives import Bank
from immunize.rng import keys, uniform
from immunize.threats import Ball


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


@pytest.fixture
def victim() -> Victim:
    """value = <w, x>, never fooled: the best point of an l_inf ball is a corner, of an l_0 ball the heaviest pixels."""
    clean = 0.4 + 0.2 * torch.rand(3, 3, 6, 6, generator=rng())
    bank = Bank(torch.eye(108)[:1], torch.ones(3, 1, dtype=torch.bool), torch.tensor(1.0))
    return Victim(lambda x: x.flatten(1), clean, bank, keys(["a", "b", "c"]), value)


def weight() -> Tensor:
    return torch.randn(108, generator=rng(1))


def value(x: Tensor, bank: Any) -> Tensor:
    return x @ weight()


def gain(victim: Victim, x: Tensor) -> Tensor:
    return (x - victim.clean).flatten(1) @ weight()


def test_evolution_climbs_a_plane(victim: Victim) -> None:
    ball = Ball("linf", 0.1)
    best = Genetic(ball, queries=3000, rate=0.1).search(victim, 0)
    corner = 0.1 * weight().abs().sum()
    start = Genetic(ball, queries=6).search(victim, 0)
    assert (gain(victim, best.x) > 0.7 * corner).all() and (gain(victim, start.x) < 0.4 * corner).all()


def test_the_fittest_survives(victim: Victim) -> None:
    """A generation more is never weaker, member for member the same up to there."""
    values = torch.stack([Genetic(Ball("linf", 0.1), queries=q).search(victim, 0).value for q in range(6, 60, 5)])
    assert (values.diff(dim=0) >= 0).all() and (values[-1] > values[0]).all()


def test_children_are_made_of_their_parents(victim: Victim) -> None:
    attack = Genetic(Ball("linf", 0.5), rate=0.0, temperature=1e6)
    clean = victim.clean[:1]
    members = torch.stack([torch.full_like(clean[0], level) for level in (0.2, 0.5, 0.8)])[None]
    draws = uniform(0, keys(["a"]), 2 * 40 * (1 + 108))
    children = attack._breed(members, torch.tensor([[1.0, 2.0, 3.0]]), clean, draws, torch.ones(1))
    assert children.shape == (1, 40, 3, 6, 6)
    near = (children[..., None] - torch.tensor([0.2, 0.5, 0.8])).abs().amin(dim=-1)
    assert near.max() < 1e-6
    assert all(len(child.unique()) <= 2 for child in (children[0] * 10).round())


def test_the_fitter_parent_gives_more(victim: Victim) -> None:
    """Two parents, chances 3 to 1: three quarters of the genes and of the draws, so 5/8 and more of all genes."""
    attack, clean = Genetic(Ball("linf", 0.5), rate=0.0, temperature=2**0.5 / 1.0986123), victim.clean[:1]
    members = torch.stack([torch.full_like(clean[0], level) for level in (0.2, 0.8)])[None]
    draws = uniform(0, keys(["a"]), 2 * 400 * (1 + 108))
    children = attack._breed(members, torch.tensor([[0.0, 1.0]]), clean, draws, torch.ones(1))
    share = (children > 0.5).float().mean().item()
    assert share == pytest.approx(0.75**2 + 2 * 0.75 * 0.25 * 0.75, abs=0.03)  # both fit, or one of each


def test_mutations_are_as_many_and_as_large_as_asked(victim: Victim) -> None:
    attack, clean = Genetic(Ball("linf", 0.1), rate=0.2, mutation=0.5), victim.clean[:1]
    draws = uniform(0, keys(["a"]), 2 * 200 * (1 + 108))
    same = clean[:, None].expand(-1, 3, -1, -1, -1)
    moved = attack._breed(same, torch.zeros(1, 3), clean, draws, torch.ones(1)) - clean[:, None]
    changed = moved.abs() > 1e-7
    assert changed.float().mean().item() == pytest.approx(0.2, abs=0.01)
    assert moved.abs().max() <= 0.05 + 1e-6 and moved[changed].abs().mean().item() == pytest.approx(0.025, rel=0.05)


def test_two_pixels_are_found(victim: Victim) -> None:
    """The two places where the most is to be gained, exhaustively."""
    w = weight().view(3, 36)
    to_gain = torch.maximum((1 - victim.clean.flatten(2)) * w, -victim.clean.flatten(2) * w).sum(dim=1)
    most = to_gain.topk(2, dim=1).values.sum(dim=1)
    best = OnePixel(Ball("l0", 2.0), queries=6000, population=60).search(victim, 0)
    assert (gain(victim, best.x) > 0.9 * most).all() and (gain(victim, best.x) <= most + 1e-4).all()
    assert (Ball("l0", 2.0).distance(best.x, victim.clean) <= 2).all()


def test_genes_are_painted_where_they_say() -> None:
    clean = torch.zeros(1, 3, 4, 5)
    genes = torch.tensor([[[[0.3, 0.5, 0.1, 0.2, 0.3], [0.99, 1.0, 1.0, 0.0, 1.0], [0.3, 0.5, 0.9, 0.9, 0.9]]]])
    x = paint(clean, genes)[0, 0]
    assert x[:, 1, 2].tolist() == pytest.approx([0.1, 0.2, 0.3]) and x[:, 3, 4].tolist() == [1.0, 0.0, 1.0]
    assert (x != 0).any(dim=0).sum() == 2
    assert torch.equal(paint(clean, genes[:, :, :0]), clean[:, None])


def test_children_of_three_different_members() -> None:
    """Members at 0, 1, 2, ... hundredths: a + (b - c) / 2 tells who was drawn."""
    size = 7
    genes = (torch.arange(size) / 100)[None, :, None, None].expand(1, size, 1, 5)
    draws = torch.rand(1, 4000, 3, generator=rng())
    children = mix(genes, draws, 0.5)[0, :, 0, 2] * 100
    expected = {max(a + (b - c) / 2, 0) for a in range(size) for b in range(size) for c in range(size)
                if len({a, b, c}) == 3}  # fmt: skip
    assert {round(2 * child) / 2 for child in children.tolist()} == expected
    place = mix(genes + 0.9, draws, 1.0)[..., :2]
    assert place.max() <= 1 and place.min() >= 0.9 - 0.07


def test_the_threats_they_can_keep() -> None:
    with pytest.raises(ValueError, match="threat: Genetic"):
        Genetic(Ball("l2", 1.0))
    with pytest.raises(ValueError, match="threat: OnePixel"):
        OnePixel(Ball("linf", 1.0))
