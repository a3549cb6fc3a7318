"""Contenders on the same streams: who is asked how often, and how far an interval reaches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from immunize.adaptation.comparing import judged, paired
from immunize.adaptation.contenders.fixed import Always
from immunize.adaptation.policy import Policy
from immunize.adaptation.world import World

Worlds = Callable[..., tuple[World, World]]


@dataclass
class Counted:
    """Plays action `of(seed)` always; `begun` counts the streams that it was asked to play."""

    of: Callable[[int], int]
    begun: list[int] = field(default_factory=list)

    def fit(self, world: World, seed: int) -> Policy:
        return Telling(self.of(seed), self.begun)


class Telling(Always):
    """One action; it says when it begins, and the list that it tells is no part of what it is."""

    def __init__(self, action: int, begun: list[int]) -> None:
        Always.__init__(self, action)
        self.begun = begun

    def __getstate__(self) -> int:
        return self.action

    def begin(self, seed: int) -> None:
        self.begun.append(seed)


@pytest.mark.parametrize(("of", "streams"), [(lambda seed: 1, 3), (lambda seed: seed, 9), (lambda seed: seed % 2, 6)])
def test_equal_policies_play_once_and_count_as_often_as_they_were_fitted(
    worlds: Worlds, of: Callable[[int], int], streams: int
) -> None:
    train, test = worlds(length=40, dwell=10.0)
    contender, alone = Counted(of), Counted(of)
    found = judged(contender, train, test, range(9000, 9003), range(3))
    assert len(contender.begun) == streams
    naive = [judged(alone, train, test, range(9000, 9003), [seed]).of(lambda s: s.gain) for seed in range(3)]
    assert found.of(lambda s: s.gain) == pytest.approx(np.mean(naive, axis=0))


def test_a_policy_that_is_known_is_not_fitted_again(worlds: Worlds) -> None:
    train, test = worlds(length=40, dwell=10.0)
    asked: list[int] = []

    def of(seed: int) -> int:
        asked.append(seed)
        return seed % 2

    known = {0: Counted(of).fit(train, 0)}
    found = judged(Counted(of), train, test, range(9000, 9003), range(3), fitted=known)
    assert asked == [0, 1, 2]
    naive = judged(Counted(of), train, test, range(9000, 9003), range(3))
    assert found.of(lambda s: s.gain) == pytest.approx(naive.of(lambda s: s.gain), abs=0)


def test_the_bootstrap_against_the_normal_approximation() -> None:
    values = np.random.default_rng(0).normal(0.3, 1.0, size=400)
    gap, half = paired(values), 1.96 * values.std() / 20
    assert (gap.interval.low, gap.interval.high) == pytest.approx(
        (values.mean() - half, values.mean() + half), abs=0.02
    )
    assert 0 not in gap.interval and 0 in paired(values - values.mean()).interval
