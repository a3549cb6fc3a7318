"""Intervals against the normal approximation, a loop, and published values."""

from math import inf, nan, sqrt

import pytest
import torch

from immunize.metrics.interval import Interval, bootstrap, student, wilson


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_without_clusters_it_is_the_binomial_interval() -> None:
    hits = torch.arange(1000) < 800
    found = bootstrap(hits, rng=rng(), samples=4000)
    half = 196 * sqrt(0.8 * 0.2 / 1000)
    # 0.4 points: Monte Carlo noise of a 2.5 % quantile from 4,000 draws, about three standard errors
    assert (found.low, found.high) == pytest.approx((80 - half, 80 + half), abs=0.4)


def test_captions_of_an_image_are_drawn_together() -> None:
    """Five copies of each outcome carry no more information than one: the interval must not shrink."""
    hits = torch.arange(200) % 2 == 0
    single = bootstrap(hits, rng=rng())
    copied = bootstrap(hits.repeat_interleave(5), torch.arange(200).repeat_interleave(5), rng=rng())
    assert (single.low, single.high) == pytest.approx((copied.low, copied.high), abs=1e-9)
    alone = bootstrap(hits.repeat_interleave(5), rng=rng())
    assert alone.high - alone.low < 0.6 * (copied.high - copied.low)


def test_agrees_with_a_loop_over_unequal_clusters() -> None:
    hits = torch.tensor([True, False, True, True, False, True])
    owner = torch.tensor([7, 7, 2, 5, 5, 5])
    clusters = [[h for h, o in zip(hits.tolist(), owner.tolist(), strict=True) if o == i] for i in (2, 5, 7)]
    rates = []
    for row in torch.randint(3, (500, 3), generator=rng()).tolist():
        drawn = [h for i in row for h in clusters[i]]
        rates.append(100 * sum(drawn) / len(drawn))
    low, high = torch.tensor(rates, dtype=torch.float64).quantile(torch.tensor([0.05, 0.95]).double()).tolist()
    found = bootstrap(hits, owner, rng=rng(), level=0.9, samples=500)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)


def test_the_generator_decides() -> None:
    hits = torch.arange(97) % 3 == 0
    assert bootstrap(hits, rng=rng(1)) == bootstrap(hits, rng=rng(1)) != bootstrap(hits, rng=rng(2))


def test_no_outcome_has_no_interval() -> None:
    with pytest.raises(ValueError, match="at least one outcome"):
        bootstrap(torch.tensor([], dtype=torch.bool), rng=rng())
    with pytest.raises(ValueError, match="no proportion"):
        wilson(0, 0)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 25.53, 36.62), (15, 148, 6.24, 16.05), (0, 20, 0.0, 16.11), (29, 29, 88.30, 100.0)],
)
def test_wilson_as_published(successes: int, n: int, low: float, high: float) -> None:
    """Newcombe 1998, Statistics in Medicine 17, table I, method 3."""
    found = wilson(successes, n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.006)


def test_student_as_published() -> None:
    """Quantiles of the table in any textbook: t(0.975, 2) = 4.303, t(0.95, 4) = 2.132."""
    found = student([1.0, 2.0, 3.0])
    assert (found.low, found.high) == pytest.approx((2 - 4.303 / sqrt(3), 2 + 4.303 / sqrt(3)), abs=1e-3)
    found = student([0.0, 0.0, 0.0, 0.0, 5.0], level=0.9)
    assert found.high == pytest.approx(1 + 2.132 * 5 / sqrt(5) / sqrt(5), abs=1e-3)
    assert student([4.0]).high == float("inf")


def test_an_interval_holds_its_ends_and_what_is_unknown() -> None:
    assert 0 in Interval(0.0, 1.0) and 1 in Interval(0.0, 1.0) and 0.5 in Interval(-inf, inf)
    assert 0 not in Interval(0.1, 1.0) and 0 not in Interval(-1.0, -0.1)
    assert 0 in Interval(nan, nan)  # an interval that nobody knows shows nothing
