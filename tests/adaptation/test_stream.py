"""Streams: dwell and contamination as asked for, and the same seed gives the same traffic."""

import numpy as np
import pytest

from immunize.adaptation.payoffs import Payoffs
from immunize.adaptation.stream import Stream


def stays(regime: np.ndarray) -> np.ndarray:
    cuts = np.flatnonzero(np.diff(regime)) + 1
    return np.diff(np.r_[0, cuts, len(regime)])


@pytest.mark.parametrize("dwell", [1.0, 20.0, 100.0])
def test_a_regime_lasts_a_geometric_time_with_the_mean_asked_for(invented: Payoffs, dwell: float) -> None:
    episode = Stream(dwell=dwell, batch=1, length=100_000).draw(invented, np.random.default_rng(0))
    lengths = stays(episode.regime)[1:-1]
    count = len(lengths)
    assert lengths.mean() == pytest.approx(dwell, abs=4 * dwell / count**0.5)
    assert lengths.std() == pytest.approx(np.sqrt(1 - 1 / dwell) * dwell, rel=0.15, abs=1e-9)


def test_the_next_regime_is_any_other(invented: Payoffs) -> None:
    regime = Stream(dwell=1.0, batch=1, length=80_000).draw(invented, np.random.default_rng(0)).regime
    pairs = np.zeros((8, 8))
    np.add.at(pairs, (regime[:-1], regime[1:]), 1)
    assert (np.diag(pairs) == 0).all()
    rest = pairs[~np.eye(8, dtype=bool)] / (len(regime) - 1)
    assert rest == pytest.approx(1 / 56, rel=0.15)


def test_contamination_is_the_share_of_the_batch_that_is_not_clean(invented: Payoffs) -> None:
    stream = Stream(contamination=(0.1, 0.5, 1.0), batch=64, length=3000)
    episode = stream.draw(invented, np.random.default_rng(0))
    clean = stream.background(invented)
    under = episode.under(np.full(len(episode), 3), clean)
    for share in (0.1, 0.5, 1.0):
        rows = under[episode.share == share]
        assert rows.size and (rows == 3).mean() == pytest.approx(share, abs=0.01)
        assert set(np.unique(rows)) <= {3, clean}


def test_payoffs_without_noise_are_the_mean_over_many_batches(invented: Payoffs) -> None:
    stream = Stream(contamination=(0.5,), batch=2000, length=40, only=("joint",))
    episode = stream.draw(invented, np.random.default_rng(0))
    under = episode.under(episode.regime, 0)
    seen = invented.reward[episode.items, under].mean(axis=(0, 1))
    assert seen == pytest.approx(episode.mixed(invented.table, episode.regime, 0)[0], abs=2e-3)


def test_the_same_seed_gives_the_same_stream(invented: Payoffs) -> None:
    one, same, other = (Stream().draw(invented, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one.items, same.items) and np.array_equal(one.regime, same.regime)
    assert not np.array_equal(one.regime, other.regime)


def test_only_some_regimes_come_up(invented: Payoffs) -> None:
    names = ("clean", "words")
    episode = Stream(only=names, dwell=5.0).draw(invented, np.random.default_rng(0))
    assert {invented.regimes[z] for z in np.unique(episode.regime)} == set(names)
    with pytest.raises(ValueError, match=r"no regime \['nothing'\]"):
        Stream(only=("nothing",)).draw(invented, np.random.default_rng(0))
    with pytest.raises(ValueError, match="no regime 'quiet'"):
        Stream(clean="quiet").draw(invented, np.random.default_rng(0))
