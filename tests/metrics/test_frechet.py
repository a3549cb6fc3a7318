"""The Frechet distance against a matrix square root, and its correction against samples whose distance is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Generator, Tensor

from immunize.metrics.frechet import frechet, frechet_gap


def sample(n: int, d: int, seed: int, mean: float = 0.0, scale: float = 1.0) -> Tensor:
    """n draws of N(mean, scale^2 diag(1 .. 1/d))."""
    spectrum = 1 / torch.arange(1, d + 1).sqrt()
    return mean + scale * spectrum * torch.randn(n, d, generator=Generator().manual_seed(seed))


def exact(d: int, mean: float, scale: float) -> float:
    """From N(0, S) to N(mean, scale^2 S): d mean^2 + (scale - 1)^2 tr S."""
    return d * mean**2 + (scale - 1) ** 2 * float((1 / torch.arange(1, d + 1)).sum())


def naive(a: Tensor, b: Tensor) -> float:
    x, y = a.double().numpy(), b.double().numpy()
    s, t = np.cov(x.T), np.cov(y.T)
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real))


@pytest.mark.parametrize(("n", "d"), [(50, 3), (400, 16), (12, 8)])
def test_agrees_with_a_matrix_square_root(n: int, d: int) -> None:
    a, b = sample(n, d, 0), sample(n + 7, d, 1, mean=0.3, scale=1.4)
    assert frechet(a, b) == pytest.approx(naive(a, b), rel=1e-6)
    assert frechet(a, b) == pytest.approx(frechet(b, a), rel=1e-9)


def test_of_one_sample_with_itself_is_nothing_also_below_full_rank() -> None:
    a = sample(5, 16, 0)
    assert frechet(a, a) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="two samples or more; there are 1 and 5"):
        frechet(a[:1], a)


def test_in_one_dimension_by_hand() -> None:
    a, b = torch.tensor([[0.0], [2.0]]), torch.tensor([[10.0], [14.0]])
    assert frechet(a, b) == pytest.approx((12 - 1) ** 2 + (8**0.5 - 2**0.5) ** 2)


def gap(n: int, d: int, mean: float = 0.0, scale: float = 1.0, repeats: int = 12) -> tuple[float, float, float]:
    """The mean gap over independent pairs of samples, its standard error, and the mean uncorrected distance."""
    gaps, plain = [], []
    for seed in range(repeats):
        a, b = sample(n, d, 2 * seed, mean, scale), sample(n, d, 2 * seed + 1)
        rng = Generator().manual_seed(seed)
        gaps.append(frechet_gap(a, torch.arange(n), b, torch.arange(n), rng=rng, splits=4))
        plain.append(frechet(a, b))
    return float(np.mean(gaps)), float(np.std(gaps) / repeats**0.5), float(np.mean(plain))


@pytest.mark.parametrize("n", [16, 40, 200, 1500])
def test_two_samples_of_one_gaussian_have_no_gap_at_any_size(n: int) -> None:
    found, error, plain = gap(n, 24)
    assert abs(found) < 4 * error + 1e-3
    assert abs(found) < 0.1 * plain  # what the correction takes away


@pytest.mark.parametrize(("n", "mean", "scale"), [(60, 0.4, 1.0), (400, 0.1, 1.0), (400, 0.0, 1.5), (1500, 0.2, 0.7)])
def test_a_known_distance_is_found(n: int, mean: float, scale: float) -> None:
    found, error, plain = gap(n, 24, mean, scale)
    truth = exact(24, mean, scale)
    assert abs(found - truth) < 4 * error + 0.1 * truth
    assert abs(found - truth) < abs(plain - truth) + error


def test_variants_of_one_item_stay_in_one_half() -> None:
    """Forty items, ten near copies of each: as one by one draws they would look like a sample of four hundred."""
    items, noise = sample(40, 8, 0), 0.01 * sample(400, 8, 1)
    variants = items.repeat_interleave(10, 0) + noise
    owner = torch.arange(40).repeat_interleave(10)
    rng = Generator().manual_seed(0)
    together = [
        frechet_gap(variants, owner, sample(40, 8, seed), torch.arange(40), rng=rng) for seed in range(100, 130)
    ]
    apart = [
        frechet_gap(variants, torch.arange(400), sample(40, 8, seed), torch.arange(40), rng=rng)
        for seed in range(100, 130)
    ]
    assert abs(np.mean(together)) < 0.5 * abs(np.mean(apart))
