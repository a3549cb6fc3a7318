"""A record for each decision that says what was seen, believed, done and why."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from immunize.adaptation.contenders import BestFixed, HiddenMarkov, LinearUcb, Looking
from immunize.adaptation.environment import Defending
from immunize.adaptation.journal import Journal, read
from immunize.adaptation.playing import play
from immunize.adaptation.world import World

Worlds = Callable[..., tuple[World, World]]


def test_every_decision_is_recorded_and_read_back(worlds: Worlds, tmp_path: Path) -> None:
    train, test = worlds(length=80, dwell=5.0)
    policy = HiddenMarkov(streams=4).fit(train, 0)
    journal = Journal.of(test, policy)
    run = play(test, policy, 9000, watch=journal)
    journal.write(tmp_path / "decisions.jsonl")
    records = read(tmp_path / "decisions.jsonl")
    assert records == journal.decisions and [r.step for r in records] == list(range(80))
    assert [test.payoffs.actions.index(r.action) for r in records] == run.served.tolist()
    assert all(sum(r.belief.values()) == pytest.approx(1, abs=1e-4) for r in records)
    assert set(records[0].belief) == set(test.payoffs.regimes)
    assert "is believed with" in records[-1].reason and f"{records[-1].action} is valued" in records[-1].reason


def test_scores_are_those_of_the_batch(worlds: Worlds) -> None:
    _, test = worlds(length=20)
    environment = Defending(test)
    observation, _ = environment.reset(seed=0)
    journal = Journal.of(test, BestFixed().fit(test, 0))
    journal(0, observation, 2)
    episode = environment.episode
    batch = test.payoffs.features[episode.items[0], episode.under(episode.regime, 0)[0]]
    one = journal.decisions[0]
    assert one.scores == {
        "misaligned": pytest.approx(batch[:, 0].mean(), abs=1e-3),
        "manipulated": pytest.approx(batch[:, 1].mean(), abs=1e-3),
    }
    flagged = (batch[:, :2] > test.observer.thresholds).any(axis=1).mean()
    assert one.flagged == pytest.approx(flagged, abs=1e-4)
    assert one.belief == {} and "a rule without values" in one.reason and one.action == "denoise"


def test_a_look_and_a_bandits_values_are_told(worlds: Worlds) -> None:
    train, test = worlds("B", length=20)
    policy = Looking(LinearUcb()).fit(train, 0)
    journal = Journal.of(test, policy)
    play(test, policy, 9000, watch=journal)
    assert all(one.looked for one in journal.decisions) and "is valued" in journal.decisions[-1].reason


def test_a_line_that_is_no_decision_is_named(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(ValueError, match=r"d\.jsonl:1 is no decision"):
        read(tmp_path / "d.jsonl")


def test_numbers_are_json(worlds: Worlds) -> None:
    _, test = worlds(length=20)
    journal = Journal.of(test, BestFixed().fit(test, 0))
    with pytest.raises(ValueError, match="JSON"):
        journal(0, np.full(test.shape, np.nan), 0)
        "".join(__import__("immunize.adaptation.journal", fromlist=["lines"]).lines(journal.decisions))
