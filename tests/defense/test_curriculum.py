"""The training-time bandit on an invented learner, against its controls."""

from typing import get_args

import numpy as np
import pytest

from immunize.config import dump, parse
from immunize.defense.curriculum import (
    Arm,
    Choice,
    Constant,
    Curriculum,
    Even,
    Exp3,
    Hardest,
    Reversed,
    Ucb,
    arms,
)

ARMS = arms(("image", "text", "joint", "useless"), (1.0,))


class Learner:
    """R of each of three regimes approaches 0; an arm moves its own regime, the joint one all, the last one none.

    The joint arm is best while all regimes are open; noise hides a single gain.
    """

    def __init__(self, seed: int) -> None:
        self.gap, self.rng = np.array([3.0, 3.0, 3.0]), np.random.default_rng(seed)
        rate = 0.004
        self.rates = np.array([[rate, 0, 0], [0, rate, 0], [rate, rate, rate], [0, 0, 0]])

    def step(self, arm: int) -> None:
        self.gap = self.gap * (1 - self.rates[arm])

    def held(self) -> np.ndarray:
        return -self.gap + 0.02 * self.rng.standard_normal(3)


def trained(choice: object, seed: int = 0, steps: int = 1500, every: int = 25) -> tuple[float, Curriculum]:
    learner = Learner(seed)
    hardness = lambda: np.array([*learner.gap, 0.0])  # noqa: E731
    curriculum = Curriculum(ARMS, choice, learner.held, every, seed, hardness)  # type: ignore[arg-type]
    for step in range(steps):
        learner.step(ARMS.index(curriculum.at(step)))
    return float(-learner.gap.mean()), curriculum


@pytest.mark.parametrize("bandit", [Ucb(), Exp3()])
def test_a_bandit_trains_better_than_chance_and_than_its_reverse(bandit: Ucb | Exp3) -> None:
    seeds = range(5)
    own, even, reverse = (
        np.mean([trained(choice, seed)[0] for seed in seeds]) for choice in (bandit, Even(), Reversed(bandit))
    )
    assert own > max(even, reverse) + 0.03


def test_the_best_arm_is_no_worse_than_any_bandit() -> None:
    best = trained(Constant(2))[0]
    assert best >= max(trained(choice)[0] for choice in (Ucb(), Exp3(), Even()))


def test_the_hardest_is_asked_each_time() -> None:
    _, curriculum = trained(Hardest())
    assert len({arm for _, arm, *_ in curriculum.log}) > 1
    with pytest.raises(ValueError, match="hardness"):
        Curriculum(ARMS, Hardest(), Learner(0).held)


def test_a_choice_is_made_each_so_many_steps_and_rewarded_by_the_gain_of_all_regimes() -> None:
    values = iter([np.array([-3.0, -1.0]), np.array([-2.0, -1.0]), np.array([-2.0, -4.0])])
    curriculum = Curriculum(ARMS, Constant(1), lambda: next(values), every=10)
    seen = [curriculum.at(step) for step in range(30)]
    assert set(seen) == {Arm("text")}
    assert curriculum.log == [(0, 1, 0.0, -2.0), (10, 1, 0.5, -1.5), (20, 1, -1.5, -3.0)]


def test_training_that_went_astray_is_reported() -> None:
    values = iter([np.zeros(2), np.array([np.nan, 0.0])])
    curriculum = Curriculum(ARMS, Even(), lambda: next(values), every=1)
    curriculum.at(0)
    with pytest.raises(ValueError, match="at step 1; look at the training"):
        curriculum.at(1)


def test_arms_are_attacks_with_weights() -> None:
    assert arms(("a", "b"), (0.5, 1.0)) == (Arm("a", 0.5), Arm("a", 1.0), Arm("b", 0.5), Arm("b", 1.0))
    with pytest.raises(ValueError, match="constant arm 4 of 4"):
        Curriculum(ARMS, Constant(4), Learner(0).held)


@pytest.mark.parametrize("choice", [Ucb(), Exp3(), Reversed(Ucb()), Even(), Constant(0), Hardest()])
def test_a_choice_is_its_own_configuration(choice: object) -> None:
    assert parse(dump(choice), Choice, "here") == choice
    assert len(get_args(get_args(Choice)[0])) == 6


def test_the_same_seed_chooses_the_same() -> None:
    logs = [trained(Exp3(), seed=3)[1].log for _ in range(2)]
    assert logs[0] == logs[1]


@pytest.mark.parametrize("choice", [Ucb(), Exp3(), Reversed(Exp3()), Even(), Constant(2), Hardest()])
@pytest.mark.parametrize("stop", [1, 7])
def test_a_replayed_log_goes_on_as_if_nothing_had_happened(choice: object, stop: int) -> None:
    """The learner is put back too, as a checkpoint would: what is learnt and drawn after is the same."""
    whole = trained(choice, seed=4, steps=500)[1]
    learner = Learner(4)
    hardness = lambda: np.array([*learner.gap, 0.0])  # noqa: E731
    first, again = (Curriculum(ARMS, choice, learner.held, 25, 4, hardness) for _ in range(2))  # type: ignore[arg-type]
    for step in range(500):
        if step == 25 * stop + 10:
            again.replay(first.log)
        curriculum = first if step < 25 * stop + 10 else again
        learner.step(ARMS.index(curriculum.at(step)))
    assert again.log == whole.log
