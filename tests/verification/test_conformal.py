"""The promise of the threshold: at most alpha, on average, whatever the scores are distributed like."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator

from immunize.verification.conformal import calibrated, conformal


def test_the_kth_smallest_by_hand() -> None:
    scores = torch.arange(1.0, 40.0)  # 39 scores: k = ceil(40 * .95) = 38
    assert conformal(scores.flip(0), 0.05) == 38.0
    assert conformal(scores, 0.025) == 39.0
    assert conformal(scores, 0.02) == math.inf
    assert conformal(torch.zeros(0), 0.5) == math.inf


def test_agrees_with_the_tested_formula() -> None:
    """adaptive.md section 7, in numpy."""
    for n, alpha in ((50, 0.05), (200, 0.01), (999, 0.1), (2000, 0.05)):
        scores = torch.randn(n, generator=Generator().manual_seed(n))
        k = math.ceil((n + 1) * (1 - alpha) - 1e-9)
        assert conformal(scores, alpha) == pytest.approx(float(np.sort(scores.numpy())[k - 1]))


@settings(max_examples=25, deadline=None)
@given(st.integers(20, 300), st.sampled_from([0.02, 0.05, 0.1, 0.3]), st.booleans(), st.integers(0, 2**31))
def test_coverage(n: int, alpha: float, ties: bool, seed: int) -> None:
    """Over 2,000 draws of n + 1 exchangeable scores the last is flagged in at most alpha of them, four standard errors."""
    rng = Generator().manual_seed(seed)
    draws = torch.randn(2000, n + 1, generator=rng).exp()
    draws = (draws * 3).round() if ties else draws
    flagged = [float(last) > conformal(row, alpha) for row, last in zip(draws[:, :-1], draws[:, -1])]
    assert np.mean(flagged) <= alpha + 4 * math.sqrt(alpha / 2000)
    if not ties and n * alpha > 4:  # and the promise is not kept by flagging nothing
        assert np.mean(flagged) >= alpha - 1 / n - 4 * math.sqrt(alpha / 2000)


def test_two_scores_share_alpha() -> None:
    """Even where they never agree, both thresholds together flag at most alpha."""
    rng = Generator().manual_seed(0)
    rates = []
    for _ in range(200):
        one = torch.randn(501, generator=rng)
        threshold = calibrated(one[:-1], -one[:-1], 0.1)
        rates.append(float(one[-1]) > threshold.misaligned or float(-one[-1]) > threshold.manipulated)
    assert np.mean(rates) <= 0.1 + 4 * math.sqrt(0.1 / 200)
    assert threshold.alpha == 0.1


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_an_alpha_that_is_no_share_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha"):
        conformal(torch.zeros(3), alpha)
