"""The ball: inside it and inside [0, 1], against plain loops over pixels."""

from __future__ import annotations

from math import inf
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from immunize.config import ConfigurationError, dump, parse
from immunize.rng import keys
from immunize.threats import Ball

NORMS = pytest.mark.parametrize("norm", ["linf", "l2"])
CLEAN = torch.rand(3, 3, 5, 5, generator=torch.Generator().manual_seed(0))
KEYS = keys(["a", "b", "c"])


def distance(x: torch.Tensor, clean: torch.Tensor, norm: str) -> torch.Tensor:
    flat = (x - clean).double().flatten(1)
    return flat.abs().amax(dim=1) if norm == "linf" else flat.square().sum(dim=1).sqrt()


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(["linf", "l2"]), st.floats(0, 3), st.floats(0, 5), st.integers(0, 1000))
def test_project_lands_inside_and_stays(norm: Literal["linf", "l2"], eps: float, reach: float, seed: int) -> None:
    ball = Ball(norm, eps)
    x = CLEAN + reach * torch.randn(CLEAN.shape, generator=torch.Generator().manual_seed(seed))
    inside = ball.project(x, CLEAN)
    assert inside.min() >= 0 and inside.max() <= 1
    assert (distance(inside, CLEAN, norm) <= eps + 1e-6).all()
    assert torch.allclose(ball.project(inside, CLEAN), inside, atol=1e-6)


def test_project_by_hand() -> None:
    clean = torch.tensor([0.5, 0.9, 0.2]).view(1, 3, 1, 1)
    x = clean + torch.tensor([0.3, 0.4, 0.0]).view(1, 3, 1, 1)
    assert torch.allclose(Ball("linf", 0.2).project(x, clean).flatten(), torch.tensor([0.7, 1.0, 0.2]))
    assert torch.allclose(Ball("l2", 0.25).project(x, clean).flatten(), torch.tensor([0.65, 1.0, 0.2]))  # half way, box
    assert torch.equal(Ball("l2", 0.6).project(x, clean), x.clamp(0, 1))  # 0.5 away: inside already


@NORMS
def test_radius_zero_is_the_identity(norm: Literal["linf", "l2"]) -> None:
    """0 / 0 in the l_2 projection is the defect that this catches."""
    ball = Ball(norm, 0.0)
    assert torch.equal(ball.project(CLEAN, CLEAN), CLEAN)
    assert torch.equal(ball.project(torch.rand_like(CLEAN), CLEAN), CLEAN)
    assert torch.equal(ball.sample(CLEAN, KEYS, 1), CLEAN)


@NORMS
def test_steepest_is_the_best_of_many_unit_directions(norm: Literal["linf", "l2"]) -> None:
    gradient = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    best = Ball(norm, 1.0).steepest(gradient)
    others = torch.randn(500, 3, 4, 4, generator=torch.Generator().manual_seed(2))
    lengths = distance(others, torch.zeros_like(others), norm).float().view(-1, 1, 1, 1)
    assert distance(best, torch.zeros_like(best), norm).item() == pytest.approx(1.0, abs=1e-6)
    assert (best * gradient).sum() > ((others / lengths) * gradient).flatten(1).sum(dim=1).max()


@NORMS
def test_no_gradient_is_no_direction(norm: Literal["linf", "l2"]) -> None:
    assert torch.equal(Ball(norm, 1.0).steepest(torch.zeros(1, 3, 2, 2)), torch.zeros(1, 3, 2, 2))


def test_the_start_is_two_sided_and_in_the_box() -> None:
    """Co-Attack and MMCoA start in [0, eps], one-sided and unclamped (attacks.md 5.16)."""
    clean = torch.full((200, 3, 4, 4), 0.5)
    delta = Ball("linf", 0.1).sample(clean, keys([str(i) for i in range(200)]), 0) - clean
    assert abs(delta.mean().item()) < 0.003 and delta.min() < -0.099 and delta.max() > 0.099
    assert delta.abs().mean().item() == pytest.approx(0.05, abs=0.002)
    border = Ball("linf", 0.1).sample(torch.ones(2, 3, 4, 4), keys(["a", "b"]), 0)
    assert border.max() <= 1 and border.min() < 0.95


def test_the_l2_start_has_every_radius() -> None:
    clean = torch.full((400, 3, 4, 4), 0.5)
    lengths = distance(Ball("l2", 0.2).sample(clean, keys([str(i) for i in range(400)]), 0), clean, "l2")
    assert (
        lengths.max() <= 0.2 + 1e-6 and lengths.mean().item() == pytest.approx(0.1, abs=0.01) and lengths.min() < 0.01
    )


@NORMS
def test_the_start_follows_the_example_and_the_seed(norm: Literal["linf", "l2"]) -> None:
    ball = Ball(norm, 0.5)
    start = ball.sample(CLEAN, KEYS, 7)
    assert torch.equal(ball.sample(CLEAN[[2, 0]], KEYS[[2, 0]], 7), start[[2, 0]])
    assert not torch.equal(ball.sample(CLEAN, KEYS, 8), start)


def test_the_radius_may_be_written_as_a_fraction() -> None:
    assert parse({"norm": "linf", "eps": "2/255"}, Ball, "here").eps == 2 / 255
    assert parse({"norm": "linf", "eps": "0.5/255"}, Ball, "here").eps == 0.5 / 255
    for wrong in ({"norm": "l1", "eps": 1}, {"norm": "linf", "eps": -1}, {"norm": "linf", "eps": "two"}):
        with pytest.raises(ConfigurationError, match=r"here: (norm|eps)"):
            parse(wrong, Ball, "here")


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 30), st.floats(0, 3), st.integers(0, 1000))
def test_l0_keeps_the_pixels_that_moved_most(count: int, reach: float, seed: int) -> None:
    """Against a loop that sorts the pixels of each image; the channels of a pixel count together."""
    x = CLEAN + reach * torch.randn(CLEAN.shape, generator=torch.Generator().manual_seed(seed))
    inside = Ball("l0", float(count)).project(x, CLEAN)
    assert inside.min() >= 0 and inside.max() <= 1
    for after, clean, wanted in zip(inside, CLEAN, x.clamp(0, 1), strict=True):
        size = (wanted - clean).square().sum(dim=0).flatten()
        kept = sorted(range(25), key=lambda i: -size[i].item())[:count]
        changed = (after != clean).any(dim=0).flatten().nonzero().flatten().tolist()
        assert set(changed) <= set(kept)
        assert torch.equal(after.flatten(1)[:, kept], wanted.flatten(1)[:, kept])


def test_l0_counts_pixels_not_channels() -> None:
    x = CLEAN.clone()
    x[0, 0, 1, 1] += 0.01
    x[0, 2, 1, 1] -= 0.01
    x[1, 1, 0, :] = 1 - x[1, 1, 0, :]
    assert Ball("l0", 9.0).distance(x, CLEAN).tolist() == [1, 5, 0]


def test_distance_is_the_norm() -> None:
    x = (CLEAN + 0.3).clamp(0, 1)
    for norm in ("linf", "l2"):
        assert torch.allclose(Ball(norm, 1.0).distance(x, CLEAN), distance(x, CLEAN, norm).float())


def test_an_infinite_ball_is_the_box_and_survives_json() -> None:
    ball = parse({"norm": "l2", "eps": "inf"}, Ball, "here")
    assert ball.eps == inf and dump(ball) == {"norm": "l2", "eps": "inf"} and parse(dump(ball), Ball, "here") == ball
    assert torch.equal(ball.project(CLEAN + 7, CLEAN), torch.ones_like(CLEAN))
    assert ball.sample(CLEAN, KEYS, 0).isfinite().all()
