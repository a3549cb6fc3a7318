"""A policy from disk serves live batches as it did in the environment."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from immunize.adaptation.contenders import (
    BestFixed,
    HiddenMarkov,
    LinearUcb,
    Maximin,
    Perceptron,
    Ridge,
    Threshold,
)
from immunize.adaptation.environment import Defending
from immunize.adaptation.playing import play
from immunize.adaptation.policy import Contender
from immunize.adaptation.shipped import Live, Shipped
from immunize.adaptation.world import World

Worlds = Callable[..., tuple[World, World]]


@pytest.mark.parametrize(
    "contender",
    [
        BestFixed(streams=2),
        Threshold(streams=2),
        Ridge(streams=2),
        Perceptron(streams=2, steps=20),
        HiddenMarkov(streams=2),
    ],
    ids=lambda one: one.kind,
)
def test_from_disk_and_live_it_chooses_as_in_the_environment(
    worlds: Worlds, tmp_path: Path, contender: Contender
) -> None:
    train, test = worlds(length=60, dwell=10.0)
    policy = contender.fit(train, 0)
    Shipped.of(policy, train).save(tmp_path)
    live, run = Live(Shipped.read(tmp_path)), play(test, policy, 9000)
    environment = Defending(test)
    environment.reset(seed=9000)
    episode = environment.episode
    under = episode.under(episode.regime, test.clean)
    chosen = [live.choose(test.payoffs.features[episode.items[t], under[t]]) for t in range(60)]
    assert chosen == run.served.tolist()
    assert [one.step for one in live.journal.decisions] == list(range(60))


def test_a_mixture_is_kept_and_a_learner_refused(worlds: Worlds, tmp_path: Path) -> None:
    train, _ = worlds(length=60)
    Shipped.of(Maximin().fit(train, 0), train).save(tmp_path)
    assert Shipped.read(tmp_path).policy.whole[-1] == pytest.approx(1)  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="learns while it serves"):
        Shipped.of(LinearUcb().fit(train, 0), train).save(tmp_path)


@pytest.fixture(scope="module")
def live(worlds: Worlds) -> Live:
    train, _ = worlds(length=60)
    return Live(Shipped.of(HiddenMarkov(streams=2).fit(train, 0), train))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(features=arrays(np.float64, st.tuples(st.integers(1, 4), st.just(8)), elements=st.floats(width=64)))
def test_any_features_get_an_action_and_a_belief(live: Live, features: np.ndarray) -> None:
    with np.errstate(all="ignore"):
        action = live.choose(features)
    assert 0 <= action < 7 and sum(live.journal.decisions[-1].belief.values()) == pytest.approx(1, abs=1e-4)


def test_no_pair_is_an_error(live: Live) -> None:
    for shape in ((0, 8), (3, 7)):
        with pytest.raises(ValueError, match="features are"):
            live.choose(np.zeros(shape))


def test_an_empty_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is the stage that fits the policy done"):
        Shipped.read(tmp_path)
