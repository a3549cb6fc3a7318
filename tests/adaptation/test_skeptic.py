"""The twelve tests can pass and can fail: each is shown a case of both where there is one."""

from collections.abc import Callable
from dataclasses import replace
from math import isnan

import numpy as np
import pytest

from immunize.adaptation.contenders import BestFixed, HiddenMarkov, LinearUcb, Oracle, Ppo, Random, Ridge
from immunize.adaptation.payoffs import Payoffs
from immunize.adaptation.policy import Contender
from immunize.adaptation.skeptic import TESTS, Bench, doubts
from immunize.adaptation.skeptic.context import (
    headroom,
    held_out_regime,
    permuted_reward,
    shuffled_context,
    single_regime,
)
from immunize.adaptation.skeptic.labels import label_supply, online, poisoned_labels
from immunize.adaptation.skeptic.rivals import discounting, ensemble, simpler_rivals, worst_regime
from immunize.adaptation.world import World

Worlds = Callable[..., tuple[World, World]]


@pytest.fixture(scope="module")
def doubted(worlds: Worlds) -> Callable[..., Bench]:
    def bench(candidate: Contender, pair: tuple[World, World] | None = None, **more: object) -> Bench:
        train, test = pair or worlds(length=250, dwell=25.0)
        return Bench(train, test, candidate, range(9000, 9003), range(1), **more)  # type: ignore[arg-type]

    return bench


@pytest.fixture(scope="module")
def good(doubted: Callable[..., Bench]) -> Bench:
    return doubted(HiddenMarkov(streams=8), ensemble="both", held=1)


def test_a_filter_of_the_right_kind_passes_what_it_should(good: Bench) -> None:
    for test in (headroom, shuffled_context, permuted_reward, ensemble, worst_regime):
        verdict = test(good)
        assert verdict.passed, str(verdict)


def test_a_fixed_action_is_found_out(doubted: Callable[..., Bench]) -> None:
    bench = doubted(BestFixed(), held=1)
    for test in (shuffled_context, simpler_rivals, single_regime, held_out_regime, worst_regime):
        verdict = test(bench)
        assert verdict.passed is False, str(verdict)


def test_no_headroom_stops_everything(doubted: Callable[..., Bench], worlds: Worlds, invented: Payoffs) -> None:
    """One action best everywhere: the oracle is a fixed action, and there is nothing to adapt to."""
    easy = replace(invented, consistency=invented.consistency + np.where(np.arange(7) == 3, -5.0, 0.0))
    verdict = headroom(doubted(HiddenMarkov(), worlds(payoffs=easy, length=200)))
    assert verdict.passed is False and verdict.figure == pytest.approx(0, abs=0.01)


def test_knowing_the_regime_passes_a_single_one(doubted: Callable[..., Bench]) -> None:
    assert single_regime(doubted(Oracle())).passed


def test_what_is_cheating_survives_permuted_rewards(doubted: Callable[..., Bench]) -> None:
    """The oracle reads the test's payoffs, not those it was trained on: just what this test is to find."""
    assert permuted_reward(doubted(Oracle())).passed is False


def test_labels_help_and_their_lack_hurts(doubted: Callable[..., Bench], worlds: Worlds) -> None:
    bench = doubted(Random(), worlds(length=200), online=LinearUcb(), warm=1)
    assert label_supply(bench).figure > 0 and poisoned_labels(bench).figure > 0
    assert "5 % after 50" in label_supply(bench).detail and "20 %" in poisoned_labels(bench).detail
    assert not isnan(online(bench).figure)


def test_what_cannot_be_run_says_so(doubted: Callable[..., Bench]) -> None:
    bench = doubted(Ridge(streams=4))
    assert discounting(bench).passed is None and ensemble(bench).passed is None


def test_gamma_is_tried_both_ways(doubted: Callable[..., Bench], worlds: Worlds) -> None:
    ppo = Ppo(steps=128, copies=2, rollout=32, hidden=4, epochs=1)
    verdict = discounting(doubted(ppo, worlds(length=60)))
    assert verdict.passed is not None and "gamma 0.95" in verdict.detail


def test_costs_are_counted_where_there_are_any(doubted: Callable[..., Bench], worlds: Worlds) -> None:
    free, dear = doubted(Random()), doubted(Random(), worlds("B", length=60))
    assert free.measure(free.played(Random()).runs[0][0]) == free.played(Random()).runs[0][0].gain
    assert dear.measure(dear.played(Random()).runs[0][0]) == dear.played(Random()).runs[0][0].earned


def test_one_command_prints_all_twelve(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from immunize.adaptation.skeptic import __main__ as command

    monkeypatch.setattr(command, "doubts", lambda bench: (verdict for verdict in _cheap(bench)))
    code = command.main(["--streams", "1", "--seeds", "1", "--held", "1"])
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 12 and printed[0].startswith(" 1 headroom") and code in (0, 1)


def _cheap(bench: Bench) -> object:
    """All twelve on short streams."""
    short = replace(bench.train.stream, length=60)
    return doubts(
        replace(
            bench,
            train=replace(bench.train, stream=short),
            test=replace(bench.test, stream=short),
            candidate=HiddenMarkov(streams=2),
            warm=1,
        )
    )


def test_there_are_twelve() -> None:
    assert len(TESTS) == 12 and all(test.__doc__ for test in TESTS)
