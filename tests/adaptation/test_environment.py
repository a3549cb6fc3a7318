"""The environment against gymnasium's own checks and against a loop over items; budgets, prices, an attacker that reacts."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from immunize.adaptation.environment import Defending
from immunize.adaptation.rules import Attacker, Bucket, Exp3, Rules
from immunize.adaptation.world import World

Worlds = Callable[..., tuple[World, World]]


@pytest.mark.parametrize("version", ["A", "B", "C"])
@pytest.mark.filterwarnings("ignore:.*unbounded.*", "ignore:.*render.*", "ignore:.*spec.*")
def test_gymnasium_finds_no_fault(worlds: Worlds, version: str) -> None:
    check_env(Defending(worlds(version, length=50)[0]), skip_render_check=True)


@pytest.mark.parametrize("version", ["A", "B", "C"])
def test_the_same_seed_and_actions_give_the_same_episode(worlds: Worlds, version: str) -> None:
    environment = Defending(worlds(version, length=120, dwell=20.0)[0])
    seen = []
    for _ in range(2):
        observation, _ = environment.reset(seed=3)
        rows = [observation]
        for t in range(120):
            observation, reward, terminated, truncated, _ = environment.step(t % 7)
            rows.append(np.r_[observation, reward])
            assert not terminated and truncated == (t == 119)
        seen.append(np.concatenate(rows))
    assert np.array_equal(*seen)


def test_rewards_are_means_over_the_items_of_the_batch(worlds: Worlds) -> None:
    world = worlds(contamination=(0.3, 1.0), length=40, dwell=5.0)[0]
    environment = Defending(world)
    environment.reset(seed=0)
    episode, clean, raw = environment.episode, world.clean, world.payoffs.reward
    for t in range(40):
        reward = environment.step(t % world.actions)[1]
        total = 0.0
        for item, chance in zip(episode.items[t], episode.draw[t]):
            regime = episode.regime[t] if chance < episode.share[t] else clean
            total += (raw[item, regime, t % world.actions] - world.scale.origin) / world.scale.unit
        assert reward == pytest.approx(total / 32)


def test_switching_latency_and_looking_have_their_price(worlds: Worlds) -> None:
    world = worlds("B", length=10)[0]
    rules = Rules(latency_price=0.5, switching=0.25, looking=0.125)
    environment = Defending(replace(world, rules=rules))
    environment.reset(seed=0)
    costs = []
    for action in (1, 1, 1 + 7, 0):
        _, reward, _, _, info = environment.step(action)
        costs.append(info["plain"] - reward)
    assert costs == pytest.approx([4.0, 4.0, 4.125, 0.75])


def test_paid_features_are_there_only_for_who_paid(worlds: Worlds) -> None:
    environment = Defending(worlds("B", length=10)[0])
    observation, _ = environment.reset(seed=0)
    world = environment.world
    column = world.width - 1
    assert observation[column] == 0
    looked, plain = environment.step(7)[0], environment.step(0)[0]
    assert looked[column] != 0 and plain[column] == 0
    free = Defending(replace(world, rules=Rules()))
    assert free.reset(seed=0)[0][column] != 0, "where looking has no price everyone sees"


def test_who_abstains_too_often_is_served_the_first_action(worlds: Worlds) -> None:
    train, _ = worlds(length=400)
    world = replace(train, payoffs=train.payoffs.abstaining(0.0), rules=Rules(abstentions=0.05, window=100))
    environment = Defending(world)
    environment.reset(seed=0)
    served = Counter(environment.step(7)[4]["served"] for _ in range(400))
    assert set(served) == {0, 7}
    assert served[7] == pytest.approx(5 + 0.05 * 400, abs=2), "a full bucket, and what flows in"


def test_a_latency_budget_holds(worlds: Worlds) -> None:
    world = worlds(length=400)[0]
    environment = Defending(replace(world, rules=Rules(budget=2.0, window=20)))
    environment.reset(seed=0)
    for _ in range(400):
        environment.step(1)  # 8 ms where 2 are allowed
    spent = world.payoffs.latency[environment.served].mean()
    assert 1.9 <= spent <= 2.0 + 20 * 2.0 / 400 + 8 / 400


def test_an_observation_ends_with_the_last_action_and_what_is_left(worlds: Worlds) -> None:
    world = worlds("B", length=10)[0]
    environment = Defending(world)
    environment.reset(seed=0)
    tail = environment.step(3)[0][world.width :]
    assert tail[:7].tolist() == [0, 0, 0, 1, 0, 0, 0] and tail[-2] == 1 and 0 < tail[-1] < 1


def test_a_shuffled_world_shows_the_same_batches_in_another_order(worlds: Worlds) -> None:
    world = worlds(length=100)[0]
    rows = []
    for one in (world, replace(world, shuffled=True)):
        environment = Defending(one)
        environment.reset(seed=0)
        rows.append(environment._rows[:-1, : world.observer.free])
    assert not np.array_equal(*rows)
    assert np.array_equal(*(row[np.lexsort(row.T)] for row in rows))


def test_an_attacker_finds_where_a_fixed_defense_is_weakest(worlds: Worlds) -> None:
    world = worlds("C", length=1500)[0]
    environment = Defending(world)
    environment.reset(seed=0)
    for _ in range(1500):
        environment.step(1)
    late = environment.regime[1000:]
    weak = world.table[:, 1].argsort()
    assert np.isin(late, weak[:4]).mean() > 0.6 > np.isin(late, weak[4:]).mean()


def test_an_attacker_sees_a_batch_only_afterwards(worlds: Worlds) -> None:
    """Two defenders who differ from batch 50 on meet the same attacker up to and with batch 50."""
    regimes = []
    for late in (0, 5):
        environment = Defending(worlds("C", length=400)[0])
        environment.reset(seed=0)
        for t in range(400):
            environment.step(0 if t < 50 else late)
        regimes.append(environment.regime)
    assert np.array_equal(regimes[0][:51], regimes[1][:51]) and not np.array_equal(*regimes)


def test_exp3_stays_a_distribution_and_prefers_what_pays() -> None:
    attacker = Exp3(Attacker(), 4, np.random.default_rng(0).random(3000).tolist())
    chosen = []
    for t in range(3000):
        chosen.append(attacker.choose(t))
        attacker.learn(0.9 if chosen[-1] == 2 else 0.3)
        assert sum(attacker.chance) == pytest.approx(1) and min(attacker.chance) >= 0.1 / 4 - 1e-12
    assert np.mean(np.array(chosen[1500:]) == 2) > 0.8


def test_a_bucket_against_arithmetic() -> None:
    bucket = Bucket(0.5, 4)
    assert bucket.share == 1
    for cost, share in ((1.0, 0.75), (1.0, 0.5), (0.0, 0.75), (0.0, 1.0), (0.0, 1.0)):
        bucket.take(cost)
        assert bucket.share == share
    assert bucket.allows(2.0) and not bucket.allows(2.1) and Bucket(None, 4).allows(99.0)


@pytest.mark.parametrize("version", ["A", "B", "C"])
def test_a_stream_met_again_is_the_same_and_what_follows_it_too(worlds: Worlds, version: str) -> None:
    played = []
    for again in (False, True):
        problem = replace(worlds(version)[0])  # one that has met no stream
        environment = Defending(problem)
        if again:  # another environment of the world has met the seed, and spoilt its own copy
            first = Defending(problem)
            first.reset(seed=3)
            first._rows[:], first.regime[:] = 7, 0
        rows = []
        for seed in (3, None):
            observation, _ = environment.reset(seed=seed)
            rows += [observation.copy(), *(environment.step(t % 2)[0].copy() for t in range(50))]
        played.append(np.stack(rows))
    assert np.array_equal(*played)
    assert not np.array_equal(played[0][:51], played[0][51:])
