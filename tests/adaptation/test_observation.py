"""Observations against loops, and one at a time against all at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from immunize.adaptation.observation import BOUND, DELTA, FAST, FORGET, SLOW, Look, Memory, Observer
from immunize.adaptation.payoffs import Payoffs


@pytest.fixture(scope="module")
def observer(invented: Payoffs) -> Observer:
    look = Look(scores=("misaligned", "manipulated"), paid=("evidence_5",), skip=("evidence_0",))
    return look.fit(invented, 0, 32, np.random.default_rng(0))


def test_columns_against_a_loop(observer: Observer, invented: Payoffs) -> None:
    batch = invented.features[:32, 2]
    row = []
    for s in (0, 1):
        row += [batch[:, s].mean(), batch[:, s].max(), np.quantile(batch[:, s], 0.1), np.quantile(batch[:, s], 0.9)]
    row += [batch[:, i].mean() for i in (3, 4, 5, 6)]
    row += [np.mean([any(pair[s] > observer.thresholds[s] for s in (0, 1)) for pair in batch]), batch[:, 7].mean()]
    assert observer.raw(batch) == pytest.approx(np.array(row))
    assert observer.free == 4 * 2 + 4 + 1 and observer.width == 3 * 13 + 2 + 1


def test_clean_batches_are_whitened_and_flagged_as_rarely_as_promised(observer: Observer, invented: Payoffs) -> None:
    rng = np.random.default_rng(1)
    clean = invented.features[rng.integers(len(invented), size=(2000, 32)), 0]
    now = observer.now(clean)
    assert now.mean(axis=0) == pytest.approx(0, abs=0.15) and now.std(axis=0) == pytest.approx(1, abs=0.1)
    assert (clean[..., :2] > observer.thresholds).any(axis=-1).mean() <= 0.055


def test_memory_against_a_loop(observer: Observer) -> None:
    """Moving averages and Page-Hinkley as their definitions say them."""
    now = np.random.default_rng(0).normal(size=(60, observer.free + 1))
    now[30:] += 2
    fast, slow = np.zeros(observer.free), np.zeros(observer.free)
    total, low, seen = np.zeros(2), np.zeros(2), []
    for t, row in enumerate(now):
        free = row[:-1]
        fast, slow = (1 - FAST) * fast + FAST * free, (1 - SLOW) * slow + SLOW * free
        seen.append([free[0], free[4]])
        total = FORGET * total + np.array(seen[-1]) - np.mean(seen, axis=0) - DELTA
        low = np.minimum(low, total)
        wanted = np.concatenate([free, fast, slow, np.clip((total - low) / 10, 0, BOUND), row[-1:]])
        assert observer.remembered(now[: t + 1])[-1] == pytest.approx(wanted, abs=1e-9)
    assert (total - low)[0] > 10 > 2, "a shift of two deviations shows"


def test_one_at_a_time_is_all_at_once(observer: Observer) -> None:
    now = np.random.default_rng(0).normal(size=(200, observer.free + 1))
    memory = Memory(observer)
    assert np.array([memory.see(row) for row in now]) == pytest.approx(observer.remembered(now), abs=1e-9)


@given(st.sampled_from([np.nan, np.inf, -np.inf, 1e300]), st.integers(0, 31), st.integers(0, 7))
def test_nothing_moves_an_observation_out_of_bounds(bad: float, row: int, column: int) -> None:
    """A single odd value is seen, at the bound, and never becomes NaN."""
    observer = Observer(
        np.array([0, 1]), np.arange(2, 7), np.array([7]), np.zeros(2), np.zeros(8 + 5 + 1 + 1), np.ones(15)
    )
    batch = np.zeros((32, 8))
    batch[row, column] = bad
    with np.errstate(all="ignore"):
        now = observer.now(batch)
    assert np.isfinite(now).all() and np.abs(now).max() == BOUND


def test_one_pair_is_a_batch(observer: Observer, invented: Payoffs) -> None:
    assert np.isfinite(observer.now(invented.features[:1, 0])).all()


def test_a_name_that_is_no_feature_is_refused(invented: Payoffs) -> None:
    with pytest.raises(ValueError, match=r"\['fear'\] are no features"):
        Look(scores=("fear",)).fit(invented, 0, 32, np.random.default_rng(0))
    with pytest.raises(ValueError, match="2 thresholds for 1 scores"):
        Look(scores=("misaligned",), thresholds=(1.0, 2.0)).fit(invented, 0, 32, np.random.default_rng(0))
