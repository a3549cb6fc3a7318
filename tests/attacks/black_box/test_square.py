"""Square's tiles and schedule against loops and hand-worked cases."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Generator, Tensor

from immunize.attacks.black_box import Square
from immunize.attacks.black_box.tiles import _pair, grid, move, recolor, stripes
from immunize.batch import Batch
from immunize.models import Clip
from immunize.rng import keys, uniform
from immunize.threats import Ball

EPS = 0.1


@pytest.fixture
def clean() -> Tensor:
    return 0.3 + 0.4 * torch.rand(64, 3, 9, 9, generator=Generator().manual_seed(1))


def draws(seed: int, count: int = 8) -> Tensor:
    return uniform(seed, keys([str(i) for i in range(64)]), count)


def test_stripes_are_corners_of_the_ball_down_each_column(clean: Tensor) -> None:
    delta = stripes(clean, EPS, keys([str(i) for i in range(64)]), 0) - clean
    assert torch.allclose(delta.abs(), torch.full_like(delta, EPS), atol=1e-6)
    assert torch.allclose(delta, delta[:, :, :1].expand_as(delta), atol=1e-6)
    assert 0.4 < (delta > 0).float().mean() < 0.6


def test_each_image_has_its_own_tile_and_the_last_row_is_reached(clean: Tensor) -> None:
    """Peers draw one place and color for the whole batch and never the last row or column (attacks.md 5.7)."""
    rows, touched = torch.arange(64), torch.zeros(9, 9)
    for seed in range(6):
        moved = (recolor(clean, clean, rows, draws(seed), 3, EPS) - clean).abs() > EPS / 2
        assert (moved.flatten(1).sum(dim=1) == 3 * 9).all()
        touched += moved.any(dim=1).float().sum(dim=0)
        assert len({tuple(place.flatten().tolist()) for place in moved[:, 0]}) > 20
    assert (touched > 0).all() and touched[0, 0] > 0 and touched[8, 8] > 0


def test_a_color_that_changes_nothing_becomes_its_opposite(clean: Tensor) -> None:
    rows = torch.arange(64)
    once = recolor(clean, clean, rows, draws(0), 4, EPS)
    again = recolor(once, clean, rows, draws(0), 4, EPS)
    assert torch.allclose(again - clean, clean - once, atol=1e-6)


def test_rows_choose_the_images(clean: Tensor) -> None:
    rows = torch.tensor([5, 2])
    for propose in (recolor, move):
        start = grid(clean, EPS, keys([str(i) for i in range(64)]), 0)
        whole = propose(start, clean, torch.arange(64), draws(1), 3, EPS)
        assert torch.equal(propose(start, clean, rows, draws(1)[rows], 3, EPS), whole[rows])


def test_the_bumps_against_the_sums_of_the_paper() -> None:
    """eta^(h1,h2)_{r,s} = sum over k = 0 ... M of 1 / (n + 1 - k)^2, two of them stacked."""

    def by_hand(height: int, width: int) -> Tensor:
        n, bump = max(height, width) // 2, torch.zeros(height, width)
        for r in range(1, height + 1):
            for s in range(1, width + 1):
                most = n - max(abs(r - height // 2 - 1), abs(s - width // 2 - 1))
                bump[r - 1, s - 1] = sum(1 / (n + 1 - k) ** 2 for k in range(most + 1))
        return bump / bump.norm()

    for side in (3, 5, 8):
        expected = torch.cat([by_hand(side // 2, side), -by_hand(side - side // 2, side)])
        assert torch.allclose(_pair(side), expected / expected.norm(), atol=1e-6)
        assert _pair(side).norm().item() == pytest.approx(1)
    assert _pair(1).abs().item() == pytest.approx(1)


def test_moved_budget_stays_on_the_sphere(clean: Tensor) -> None:
    """l_2: outside both windows nothing changes direction, and the whole radius is used."""
    start = grid(clean, EPS, keys([str(i) for i in range(64)]), 0)
    moved = move(start, clean, torch.arange(64), draws(2), 3, EPS)
    assert torch.allclose((start - clean).flatten(1).norm(dim=1), torch.full((64,), EPS), atol=1e-5)
    assert torch.allclose((moved - clean).flatten(1).norm(dim=1), torch.full((64,), EPS), atol=1e-5)
    changed = (moved - start).abs() > 1e-6
    assert (changed.any(dim=1).flatten(1).sum(dim=1) <= 2 * 9).float().mean() > 0.9
    assert changed.flatten(1).any(dim=1).all()


def side(queries: int, k: int, rescaled: bool, norm: Literal["linf", "l2"] = "linf") -> int:
    return Square(Ball(norm, EPS), queries=queries, p=0.8, rescaled=rescaled).side(k, 40, 40)


def test_the_schedule() -> None:
    """p = 0.8 of 40 x 40 is a side of 36; halved after queries 10, 50 and 200 of 10,000, or of the budget's fractions."""
    assert [side(10_000, k, False) for k in (1, 11, 12, 51, 52, 201, 202)] == [36, 36, 25, 25, 18, 18, 13]
    assert [side(100, k, True) for k in (1, 2, 3, 4)] == [36, 18, 18, 13]
    assert side(100, 99, True) == 2 and side(100, 99, False) == 18 and side(10_000, 9_999, False, "l2") == 3


def test_saturated_pixels_and_odd_shapes(trained: Clip, batch: Batch) -> None:
    with pytest.raises(ValueError, match="threat: Square"):
        Square(Ball("l0", 3.0))
    with pytest.raises(ValueError, match="threat: Square"):
        Square(Ball("linf", float("inf")))
    flat = torch.ones(2, 3, 7, 4)
    rows, some = torch.arange(2), draws(0)[:2]
    assert (recolor(flat, flat, rows, some, 4, EPS) < 1).flatten(1).any(dim=1).all()
    assert grid(torch.full_like(flat, 0.5), EPS, keys(["a", "b"]), 0).isfinite().all()
