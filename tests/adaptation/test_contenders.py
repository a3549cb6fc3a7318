"""Contenders on the invented tensor: who wins, by what, and that the same seed wins again."""

from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from immunize.adaptation.comparing import Played, difference, judged, study, table
from immunize.adaptation.contenders import (
    AnyContender,
    BestFixed,
    Fixed,
    HiddenMarkov,
    Hindsight,
    LinearUcb,
    Looking,
    Maximin,
    Oracle,
    Perceptron,
    Ppo,
    Random,
    Ridge,
    Shifting,
    Threshold,
    Uniform,
    field,
    maximin,
)
from immunize.adaptation.contenders.hidden_markov import Filter
from immunize.adaptation.gain import Summary, summarize
from immunize.adaptation.playing import Feedback, play
from immunize.adaptation.policy import Contender, Policy
from immunize.adaptation.world import World
from immunize.config import dump, parse

Worlds = Callable[..., tuple[World, World]]
STREAMS, SEEDS = range(9000, 9003), range(1)
FEW = {"streams": 8}


def by_gain(summary: Summary) -> float:
    return summary.gain


@pytest.fixture(scope="module")
def played(worlds: Worlds) -> dict[str, Played]:
    train, test = worlds(length=800)
    contenders: dict[str, Contender] = {
        "random": Random(), "uniform": Uniform(), "best fixed": BestFixed(), "hindsight": Hindsight(), "oracle": Oracle(),
        "threshold": Threshold(**FEW), "ridge": Ridge(**FEW), "blind ridge": Ridge(memory=False, **FEW),
        "hidden Markov": HiddenMarkov(**FEW), "LinUCB": LinearUcb(), "Exp3.S": Shifting(),
    }  # fmt: skip
    return study(contenders, train, test, STREAMS, SEEDS)


def test_oracle_and_chance_are_the_ends_of_the_scale(played: dict[str, Played]) -> None:
    assert played["oracle"].mean(by_gain) == 1
    assert played["random"].mean(by_gain) == pytest.approx(0, abs=0.06)
    assert played["uniform"].mean(by_gain) == pytest.approx(0, abs=0.06)
    assert all(one.mean(by_gain) <= 1 for one in played.values())


@pytest.mark.parametrize(
    "better, worse",
    [
        ("hidden Markov", "ridge"),
        ("ridge", "blind ridge"),
        ("blind ridge", "best fixed"),
        ("ridge", "threshold"),
        ("hindsight", "best fixed"),
        ("LinUCB", "Exp3.S"),
        ("hidden Markov", "LinUCB"),
    ],
)
def test_the_order_is_that_of_the_pilot(played: dict[str, Played], better: str, worse: str) -> None:
    gap = difference(played[better], played[worse], by_gain)
    assert gap.interval.low > 0, str(gap)


def test_memory_shortens_the_lag(played: dict[str, Played]) -> None:
    assert played["hidden Markov"].lag < 15 < played["blind ridge"].lag
    assert played["hidden Markov"].censored < 0.2 < played["best fixed"].censored


def test_a_shuffled_context_destroys_the_filter(worlds: Worlds) -> None:
    train, test = worlds(length=800)
    policy = HiddenMarkov(**FEW).fit(train, 0)
    before, after = (summarize(play(w, policy, 9000), w).gain for w in (test, replace(test, shuffled=True)))
    assert before > 0.75 and after < before - 0.4


def test_a_network_learns_what_a_ridge_learns(worlds: Worlds) -> None:
    train, test = worlds(length=400)
    found = judged(Perceptron(steps=300, **FEW), train, test, STREAMS, SEEDS)
    assert found.mean(by_gain) > 0.35


def test_the_filter_against_the_forward_algorithm(worlds: Worlds) -> None:
    """belief_t = P(state | x_1..x_t), as summing over all paths says, on three states and five batches."""
    rng = np.random.default_rng(0)
    transition, mean = rng.dirichlet(np.ones(3), size=3), rng.normal(size=(3, 2))
    policy = Filter(np.arange(2), np.eye(2), mean, transition, rng.normal(size=(3, 2)), ("a", "b", "c"))
    x = rng.normal(size=(5, 2))
    likelihood = np.exp(-0.5 * ((x[:, None] - mean) ** 2).sum(-1))
    total = np.zeros(3)
    for path in np.ndindex(3, 3, 3, 3, 3):
        chance = (np.full(3, 1 / 3) @ transition)[path[0]] * likelihood[0, path[0]]
        for t in range(1, 5):
            chance *= transition[path[t - 1], path[t]] * likelihood[t, path[t]]
        total[path[-1]] += chance
    for row in x:
        policy.act(row)
    assert policy.belief == pytest.approx(total / total.sum())


def test_maximin_against_rock_paper_scissors_and_a_dominated_action() -> None:
    mixture, value = maximin(np.array([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]))
    assert mixture == pytest.approx(1 / 3) and value == pytest.approx(0, abs=1e-9)
    mixture, value = maximin(np.array([[1.0, 0.0, -5.0], [0.0, 1.0, -5.0]]))
    assert mixture == pytest.approx([0.5, 0.5, 0.0]) and value == pytest.approx(0.5)


def test_the_mixture_keeps_its_promise_in_every_regime(worlds: Worlds) -> None:
    train, _ = worlds()
    mixture, value = maximin(train.table)
    assert (train.table @ mixture).min() == pytest.approx(value) and value >= train.table.min(axis=0).max() - 1e-9
    acts = [Maximin().fit(train, 0)]
    acts[0].begin(0)
    counts = np.bincount([acts[0].act(np.zeros(1)) for _ in range(20_000)], minlength=7) / 20_000
    assert counts == pytest.approx(mixture, abs=0.02)


def test_the_rule_finds_thresholds_that_a_search_finds(worlds: Worlds) -> None:
    """No pair of the grid and no three actions earn more on the training streams."""
    train, _ = worlds(length=200)
    rule = Threshold(streams=2, grid=6).fit(train, 0)
    taken = train.taken(0, 2)
    score = taken.contexts[:, rule.column]
    place = (score[:, None] > np.array(rule.limits)).sum(axis=1)
    earned = taken.rewards[np.arange(len(place)), np.array(rule.actions)[place]].sum()
    cuts = np.sort(score)[np.linspace(0, len(score) - 1, 6).astype(int)]
    best = max(
        sum(taken.rewards[((score[:, None] > [low, high]).sum(axis=1)) == k].sum(axis=0).max() for k in range(3))
        for low in cuts
        for high in cuts
        if low <= high
    )
    assert earned == pytest.approx(best)


def test_few_late_and_false_labels_cost_what_they_should(worlds: Worlds) -> None:
    train, test = worlds(length=800)
    policy = LinearUcb().fit(train, 0)
    kinds = (Feedback(), Feedback(supply=0.05), Feedback(delay=50), Feedback(flipped=0.5), Feedback(supply=0.0))
    full, few, late, false, none = (
        np.mean([summarize(play(test, policy, s, f), test).gain for s in STREAMS]) for f in kinds
    )
    assert full > few > none and full > late and full > false + 0.3 and abs(none) < 0.35


def test_a_frozen_bandit_is_the_same_after_a_stream_as_before(worlds: Worlds) -> None:
    train, test = worlds(length=200)
    policy = LinearUcb(warm=1, online=False).fit(train, 0)
    first, again = play(test, policy, 9000), play(test, policy, 9000)
    assert np.array_equal(first.served, again.served)


@pytest.mark.parametrize("name", ["random", "hidden Markov", "LinUCB, discounted", "linear Thompson", "Exp3.S"])
def test_the_same_seed_plays_the_same_game(worlds: Worlds, name: str) -> None:
    train, test = worlds(length=150)
    contender = field(train.payoffs.actions)[name]
    runs = [play(test, contender.fit(train, 0), 9001) for _ in range(2)]
    assert np.array_equal(runs[0].served, runs[1].served) and np.array_equal(runs[0].earned, runs[1].earned)


@pytest.mark.parametrize("version", ["B", "C"])
@pytest.mark.parametrize("name", ["threshold rule", "ridge", "hidden Markov", "LinUCB", "maximin mixture", "oracle"])
def test_everyone_plays_with_budgets_and_before_an_attacker(worlds: Worlds, version: str, name: str) -> None:
    train, test = worlds(version, length=60)
    policy = field(train.payoffs.actions)[name].fit(train, 0)
    assert isinstance(policy, Policy)
    summary = summarize(play(test, policy, 9000), test)
    assert np.isfinite([summary.gain, summary.regret, summary.earned, summary.worst]).all()


def test_looking_pays_for_every_batch_and_sees_more(worlds: Worlds) -> None:
    train, test = worlds("B", length=300)
    plain, looking = HiddenMarkov(**FEW).fit(train, 0), Looking(HiddenMarkov(**FEW)).fit(train, 0)
    assert len(looking.inside.columns) == len(plain.columns) + 1  # type: ignore[attr-defined]
    cost = []
    for policy in (plain, looking):
        run = play(replace(test, rules=replace(test.rules, switching=0.0, latency_price=0.0)), policy, 9000)
        cost.append(run.earned.sum())
    assert cost[1] != cost[0]
    with pytest.raises(ValueError, match="for nothing"):
        Looking(HiddenMarkov()).fit(worlds("A", length=60)[0], 0)


def test_ppo_learns_a_little_and_leaves_the_global_generators_alone(worlds: Worlds) -> None:
    import torch

    train, test = worlds(length=100)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # type: ignore[index]
    config = Ppo(gamma=0.0, steps=512, copies=2, rollout=64, hidden=8, epochs=1)
    one, same = (config.fit(train, 0) for _ in range(2))
    after = np.random.get_state()[1], torch.get_rng_state()  # type: ignore[index]
    assert np.array_equal(before[0], after[0]) and torch.equal(before[1], after[1])
    runs = [play(test, policy, 9000).served for policy in (one, same)]
    assert np.array_equal(*runs) and len(runs[0]) == 100


def test_ppos_network_is_ppos_policy() -> None:
    """What is exported values actions as the library's own policy does."""
    import torch
    from gymnasium.spaces import Box, Discrete
    from stable_baselines3.common.policies import ActorCriticPolicy

    from immunize.adaptation.ppo import exported

    box = Box(-1, 1, (6,), dtype=np.float32)
    policy = ActorCriticPolicy(box, Discrete(4), lambda _: 1e-3, net_arch=[8, 8])
    network = exported(policy)
    for row in np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32):
        with torch.no_grad():
            logits = policy.get_distribution(torch.from_numpy(row)[None]).distribution.logits[0].numpy()
        act = network.act(row)
        assert act == logits.argmax()
        assert network.values - network.values.max() == pytest.approx(logits - logits.max(), abs=1e-4)


def test_every_contender_is_its_own_configuration() -> None:
    kinds = get_args(get_args(AnyContender)[0])
    assert len(kinds) == 15
    for kind in kinds:
        one = kind("none") if kind is Fixed else kind()
        assert parse(dump(one), AnyContender, "here") == one


def test_a_table_has_a_line_for_each(played: dict[str, Played]) -> None:
    lines = table(played).splitlines()
    assert len(lines) == len(played) + 1 and len({len(line) for line in lines}) == 1
