"""What a stream holds before anyone acts: it follows from the seed alone, so all who play that seed are shown the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from immunize.adaptation.stream import Episode

if TYPE_CHECKING:
    from immunize.adaptation.world import World

KEPT = 64  # streams of a world that are remembered, a few MB each


@dataclass(frozen=True, slots=True)
class Foreseen:
    """Each batch under each regime that may reign there: the one drawn, or, for an attacker to choose from, all of them.

    now: `Observer.now`. earned: scaled rewards of each action. rows: `Observer.remembered` and a last one of zeros, where
    nothing one does changes them. draws: a number a batch for the attacker's chance; none where there is no attacker.
    """

    episode: Episode
    now: Float[np.ndarray, "t k c"]
    earned: Float[np.ndarray, "t k a"]
    rows: Float[np.ndarray, "t1 d"] | None
    draws: tuple[float, ...]

    @classmethod
    def of(cls, world: World, rng: np.random.Generator) -> Foreseen:
        """The stream that `rng` draws next."""
        episode = world.stream.draw(world.payoffs, rng)
        length = len(episode)
        if world.rules.attacker is not None:
            draws = tuple(rng.random(length).tolist())
            each = [np.full(length, z) for z in world.reigning]
            now = np.stack([world.seen(episode, regime) for regime in each], axis=1)
            earned = np.stack([world.earned(episode, regime) for regime in each], axis=1)
            return cls(episode, now, earned, None, draws)
        now = world.seen(episode, episode.regime)
        if world.shuffled:
            now = now[rng.permutation(length)]
        earned = world.earned(episode, episode.regime)
        rows = np.zeros((length + 1, world.width), dtype=np.float32)
        rows[:-1] = world.observer.remembered(now)
        return cls(episode, now[:, None], earned[:, None], rows, ())


class Streams:
    """The streams of a world by their seeds, the last `KEPT` remembered: contenders are compared on the same ones."""

    def __init__(self) -> None:
        self._met: dict[int, tuple[Foreseen, Any]] = {}

    def next(self, world: World, rng: np.random.Generator, seed: int | None) -> Foreseen:
        """What `rng` draws next, if it was just made of `seed` (None: it goes on from an earlier stream); rng is moved on."""
        if seed is None:
            return Foreseen.of(world, rng)
        if seed not in self._met:
            found = Foreseen.of(world, rng)
            self._met[seed] = found, rng.bit_generator.state
            if len(self._met) > KEPT:
                del self._met[next(iter(self._met))]
        found, rng.bit_generator.state = self._met[seed]
        return found
