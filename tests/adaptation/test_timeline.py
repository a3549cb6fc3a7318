"""What is told of a stream adds up to what its runs are judged by."""

from collections.abc import Callable

import numpy as np
import pytest

from immunize.adaptation.comparing import Played
from immunize.adaptation.contenders import Fixed, Hindsight, Random
from immunize.adaptation.contest import contest
from immunize.adaptation.gain import marks, regret, summarize
from immunize.adaptation.playing import play
from immunize.adaptation.timeline import beside
from immunize.adaptation.world import World

Worlds = Callable[..., tuple[World, World]]


def test_every_batch_with_its_regime_its_action_and_the_regret_so_far(worlds: Worlds) -> None:
    train, test = worlds(length=60, dwell=10.0)
    run = play(test, Random().fit(train, 0), 9000)
    found = beside(run, train, test, 0, 9000)
    assert found["stream"] == 9000 and set(found["runs"]) == {"shipped", "best_fixed", "hindsight", "oracle"}
    told = found["runs"]["shipped"]
    assert [test.payoffs.regimes.index(name) for name in told["regime"]] == run.regime.tolist()
    assert [test.payoffs.actions.index(name) for name in told["action"]] == run.served.tolist()
    missed, at = [], np.arange(60)
    for t in at:
        missed.append(run.payoff[t].max() - run.payoff[t, run.served[t]])
    assert told["regret"] == pytest.approx(np.cumsum(missed).tolist(), abs=1e-4)
    assert told["reward"] == pytest.approx(run.earned.tolist(), abs=1e-4)


def test_the_yardsticks_are_on_the_same_stream(worlds: Worlds) -> None:
    """The oracle regrets nothing; who knows the best action of the whole stream keeps to it, and regrets less than chance."""
    train, test = worlds(length=60, dwell=10.0)
    runs = beside(play(test, Random().fit(train, 0), 9000), train, test, 0, 9000)["runs"]
    assert all(run["regime"] == runs["shipped"]["regime"] for run in runs.values())
    assert runs["oracle"]["regret"][-1] == pytest.approx(0, abs=1e-6)
    assert len(set(runs["hindsight"]["action"])) == 1
    assert 0 < runs["hindsight"]["regret"][-1] < runs["shipped"]["regret"][-1]


def test_a_regret_curve_is_the_mean_over_runs(worlds: Worlds) -> None:
    train, test = worlds(length=120, dwell=10.0)
    action = test.payoffs.actions[0]
    policy = Fixed(action).fit(train, 0)
    runs = [play(test, policy, seed) for seed in (9000, 9001)]
    played = Played((tuple(summarize(run, test) for run in runs),))
    expected = [(regret(runs[0])[t] + regret(runs[1])[t]) / 2 for t in marks(120)]
    assert played.curve.tolist() == pytest.approx(expected)
    assert played.curve[-1] == pytest.approx(played.mean(lambda s: s.regret))
    assert len(marks(120)) == 50 and marks(120)[-1] == 119 and marks(3).tolist() == [0, 1, 2]


def test_a_contest_keeps_the_curves(worlds: Worlds) -> None:
    train, test = worlds(length=30, dwell=10.0)
    found = contest({"hindsight": Hindsight()}, train, test, ("hindsight",), range(9000, 9002), range(1))
    assert found["steps"][-1] == 30
    for one in found["contenders"].values():
        assert len(one["curve"]) == len(found["steps"]) and one["curve"] == sorted(one["curve"])
        assert one["curve"][-1] == pytest.approx(one["regret"], abs=1e-4)
