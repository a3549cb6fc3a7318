"""What the tests share: the candidate, both worlds, and every contender played once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from immunize.adaptation.comparing import SEEDS, STREAMS, Measure, Played, judged
from immunize.adaptation.contenders import LinearUcb, Ppo
from immunize.adaptation.playing import Feedback
from immunize.adaptation.policy import Contender
from immunize.adaptation.world import World


@dataclass(frozen=True, slots=True)
class Verdict:
    """One test: `passed` is None where it could not be run; `figure` is what it was decided by, `detail` says what that is."""

    name: str
    passed: bool | None
    figure: float
    detail: str

    def __str__(self) -> str:
        word = {True: "ok", False: "FAILED", None: "not run"}[self.passed]
        return f"{self.name:<22} {word:<8} {self.figure:+8.3f}  {self.detail}"


@dataclass(frozen=True)
class Bench:
    """`candidate` is who is doubted. controls: training seeds of those fits that only show that something breaks.

    ensemble: the action of the payoffs that asks all defenses at once, if there is one. ppo: the policy whose gamma is
    tried; None leaves that test out, which takes minutes. held: how many regimes are held out in turn. online: the
    bandit of the tests on labels.
    """

    train: World
    test: World
    candidate: Contender
    streams: Sequence[int] = STREAMS
    seeds: Sequence[int] = SEEDS
    controls: int = 1
    ensemble: str | None = None
    ppo: Ppo | None = None
    held: int | None = None
    online: LinearUcb = LinearUcb()  # noqa: RUF009 - frozen
    warm: int = 5
    cache: dict[str, Played] = field(default_factory=dict, repr=False)

    @property
    def measure(self) -> Measure:
        """G where regimes come by themselves and nothing costs; else what was earned, costs and all."""
        rules = self.test.rules
        exogenous = rules.attacker is None and rules.looking is None and not (rules.switching or rules.latency_price)
        return (lambda s: s.gain) if exogenous else (lambda s: s.earned)

    def played(self, contender: Contender, feedback: Feedback | None = None) -> Played:
        """On all streams and seeds; whoever has played already is not asked again."""
        key = f"{contender!r} {feedback!r}"
        if key not in self.cache:
            self.cache[key] = judged(contender, self.train, self.test, self.streams, self.seeds, feedback)
        return self.cache[key]

    def control(self, train: World, test: World, contender: Contender | None = None) -> Played:
        """The candidate, or another, in worlds of its own, with the few seeds of a control."""
        return judged(contender or self.candidate, train, test, self.streams, self.seeds[: self.controls])

    def only(self, *regimes: str) -> tuple[World, World]:
        """Both worlds with these regimes alone."""
        return self._only(self.train, regimes), self._only(self.test, regimes)

    def _only(self, world: World, regimes: tuple[str, ...]) -> World:
        return replace(world, stream=replace(world.stream, only=regimes))
