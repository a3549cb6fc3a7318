"""Bandits against full inverses, river where it is installed, and what theory says of them."""

import numpy as np
import pytest

from immunize.bandits import DiscountedUcb, Exp3S, Linear, LinThompson, LinUcb, horizon


def data(count: int = 80, width: int = 5, seed: int = 0) -> list[tuple[np.ndarray, int, float]]:
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=width), int(rng.integers(3)), float(rng.normal())) for _ in range(count)]


@pytest.mark.parametrize("discount", [1.0, 0.98])
def test_sherman_morrison_is_the_inverse(discount: float) -> None:
    """The regularization fades with the rest: A_t = discount A_(t-1) + x x', from ridge I."""
    model = Linear(5, 3, ridge=2.0, discount=discount)
    a, b = [2.0 * np.eye(5) for _ in range(3)], np.zeros((3, 5))
    for x, arm, reward in data():
        model.learn(x, arm, reward)
        a[arm] = discount * a[arm] + np.outer(x, x)
        b[arm] = discount * b[arm] + reward * x
    for arm in range(3):
        assert model.inverse[arm] == pytest.approx(np.linalg.inv(a[arm]))
        assert model.weight[arm] == pytest.approx(np.linalg.solve(a[arm], b[arm]))


def test_upper_bounds_are_those_of_the_definition() -> None:
    model = Linear(5, 3)
    for x, arm, reward in data():
        model.learn(x, arm, reward)
    x = np.random.default_rng(1).normal(size=5)
    wanted = [w @ x + 0.3 * np.sqrt(x @ inverse @ x) for w, inverse in zip(model.weight, model.inverse)]
    assert LinUcb(model, 0.3).values(x) == pytest.approx(np.array(wanted))
    draws = np.array([LinThompson(model, 0.3, np.random.default_rng(i)).values(x) for i in range(4000)])
    assert draws.mean(axis=0) == pytest.approx(model.weight @ x, abs=0.02)
    assert draws.std(axis=0) == pytest.approx(0.3 * model.spread(x), rel=0.05)


def test_forgetting_never_loses_its_footing() -> None:
    """A direction that is no longer seen makes a discounted inverse grow without end, but for the reset."""
    model = Linear(4, 1, discount=0.9)
    for _ in range(2000):
        model.learn(np.array([1.0, 0, 0, 0]), 0, 0.5)
    assert np.isfinite(model.inverse).all() and np.linalg.eigvalsh(model.inverse[0]).min() > 0
    assert np.trace(model.inverse[0]) <= Linear.GROWTH * 4 / 0.9 + 1
    assert model.weight[0, 0] == pytest.approx(0.5, abs=0.1)


def test_forgetting_follows_a_change_and_remembering_does_not() -> None:
    weights = []
    for discount in (1.0, 0.9):
        model = Linear(1, 1, discount=discount)
        for t in range(200):
            model.learn(np.ones(1), 0, 1.0 if t < 150 else -1.0)
        weights.append(float(model.weight[0, 0]))
    assert weights[0] > 0.4 and weights[1] < -0.9


def test_against_river() -> None:
    """Its arms are Bayesian regressions with prior and noise of precision 1, which is a ridge of 1."""
    linear = pytest.importorskip("river.bandit").LinUCBDisjoint(alpha=1.0, beta=1.0, seed=0)
    model = Linear(5, 3, ridge=1.0)
    for x, arm, reward in data():
        linear.update(arm, dict(enumerate(x.tolist())), reward)
        model.learn(x, arm, reward)
    x = np.random.default_rng(1).normal(size=5)
    predicted = [linear._bayes_lin_regs[arm].predict_one(dict(enumerate(x.tolist()))) for arm in range(3)]
    assert model.weight @ x == pytest.approx(np.array(predicted), abs=1e-6)


def regret(chooser: Exp3S | DiscountedUcb, best: list[int], arms: int, seed: int) -> float:
    rng, lost = np.random.default_rng(seed), 0.0
    for arm in best:
        chosen = chooser.choose()
        chooser.learn(chosen, float(np.clip(rng.normal(0.8 if chosen == arm else 0.3, 0.1), 0, 1)))
        lost += 0.5 * (chosen != arm)
    return lost


@pytest.mark.parametrize("moving", [False, True])
def test_both_follow_the_best_arm(moving: bool) -> None:
    arms, rounds = 4, 2000
    best = [3 * moving if t >= rounds // 2 else 1 for t in range(rounds)] if moving else [1] * rounds
    chance = 0.5 * rounds * 3 / 4
    gamma, share = horizon(arms, rounds, 2)
    assert regret(Exp3S(arms, np.random.default_rng(0), gamma, share), best, arms, 0) < 0.6 * chance
    assert regret(DiscountedUcb(arms, 0.98), best, arms, 0) < 0.4 * chance


def test_exp3_s_against_the_papers_update() -> None:
    bandit = Exp3S(3, np.random.default_rng(0), gamma=0.2, share=0.01)
    weight = np.full(3, 1 / 3)
    for arm, reward in ((0, 0.5), (2, 1.0), (2, 0.25)):
        chance = 0.8 * weight / weight.sum() + 0.2 / 3
        assert bandit.chance == pytest.approx(chance)
        estimate = np.zeros(3)
        estimate[arm] = reward / chance[arm]
        weight = weight * np.exp(0.2 * estimate / 3) + np.e * 0.01 / 3 * weight.sum()
        bandit.learn(arm, reward)
    assert bandit.weight == pytest.approx(weight / weight.sum())
    with pytest.raises(ValueError, match="rewards in"):
        bandit.learn(0, 1.5)


def test_discounted_ucb_tries_everything_once() -> None:
    bandit = DiscountedUcb(5)
    tried = []
    for _ in range(5):
        tried.append(bandit.choose())
        bandit.learn(tried[-1], 0.0)
    assert sorted(tried) == [0, 1, 2, 3, 4]
