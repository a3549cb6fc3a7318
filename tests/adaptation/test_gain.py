"""Gain, regret and lag worked by hand, and the median against a survival curve by a loop."""

from math import inf, isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from immunize.adaptation.gain import Lags, gain, lags, median, regret
from immunize.adaptation.playing import Run

TABLE = np.array([[-1.0, -3.0], [-4.0, -2.0]])


def run(regime: list[int], served: list[int], table: np.ndarray = TABLE) -> Run:
    z, a = np.array(regime), np.array(served)
    nothing = np.zeros(len(z))
    return Run(z, a, table[z], nothing, nothing, nothing, nothing, 0.0)


def test_the_oracle_gains_one_and_chance_zero() -> None:
    regime = [0, 0, 1, 1]
    assert gain(run(regime, [0, 0, 1, 1])) == 1
    assert gain(run(regime, [0, 1, 0, 1])) == pytest.approx(0)
    assert gain(run(regime, [1, 1, 0, 0])) == -1
    assert gain(run(regime, [0, 0, 0, 0]), np.array(regime) == 1) == -1


def test_no_headroom_is_no_number() -> None:
    assert isnan(gain(run([0, 0], [0, 1], np.array([[-1.0, -1.0]]))))


def test_gain_is_free_of_shift_and_scale() -> None:
    served = [0, 1, 1, 0, 1]
    regime = [0, 0, 1, 1, 1]
    assert gain(run(regime, served, 7 * TABLE - 100)) == pytest.approx(gain(run(regime, served)))


def test_regret_adds_up() -> None:
    assert regret(run([0, 0, 1], [0, 1, 0])).tolist() == [0, 2, 4]


def test_lag_is_counted_from_the_switch() -> None:
    """20 batches of regime 0, then 20 of regime 1 in which the policy is wrong for 3: with a window of 5 the lag is 3."""
    found = lags(run([0] * 20 + [1] * 20, [0] * 23 + [1] * 17))
    assert found.batches.tolist() == [3] and found.reached.tolist() == [True] and found.censored == 0


def test_who_never_adapts_is_censored_and_short_stays_do_not_count() -> None:
    found = lags(run([0] * 20 + [1] * 20 + [0] * 10, [0] * 50))
    assert found.batches.tolist() == [16] and found.censored == 1
    assert isnan(lags(run([0] * 30, [0] * 30)).censored)


def test_the_median_of_uncensored_lags_is_the_median() -> None:
    assert median([Lags(np.array([1.0, 4.0, 9.0]), np.ones(3, dtype=bool))]) == 4
    assert median([Lags(np.array([1.0, 5.0, 9.0]), np.zeros(3, dtype=bool))]) == inf
    assert median([]) == inf


def test_the_median_by_hand() -> None:
    """Lags 2, 3+, 4, 5: S = 3/4 at 2, 3/8 at 4, so the median is 4; without the censored one counted it would be 4 too,
    but with it taken as reached 3."""
    found = Lags(np.array([2.0, 3.0, 4.0, 5.0]), np.array([True, False, True, True]))
    assert median([found]) == 4
    assert median([Lags(found.batches, np.ones(4, dtype=bool))]) == 3


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=30))
def test_the_median_against_a_loop(stays: list[tuple[int, bool]]) -> None:
    alive, wanted = 1.0, inf
    for k in range(10):
        risk = sum(lag >= k for lag, _ in stays)
        events = sum(lag == k and reached for lag, reached in stays)
        alive *= 1 - events / risk if risk else 1
        if events and alive <= 0.5 + 1e-12 and wanted == inf:
            wanted = k
    batches, reached = (np.array(column) for column in zip(*stays))
    assert median([Lags(batches.astype(float), reached.astype(bool))]) == wanted
