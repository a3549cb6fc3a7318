"""A6: is the attack at fault? Each check plants a case whose outcome is known, or looks where a defense hides its slope."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import sqrt

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from immunize.attacks import PGD, Noise
from immunize.attacks.black_box import Square
from immunize.attacks.victim import Best
from immunize.batch import Batch
from immunize.config import frozen
from immunize.evaluation.adaptive.steps import RULES, combined
from immunize.evaluation.adaptive.system import Known
from immunize.evaluation.adaptive.target import Target, Watched
from immunize.evaluation.results import Flag
from immunize.rng import draw_seed
from immunize.threats import Ball

TINY = 1e-8  # the largest entry of a slope in logits a pixel: of a live encoder it lies many orders above


@frozen
class Probe:
    """The attack that is put on trial, on the first `images` pairs; `queries` of the black box beside it.

    huge: the l_inf radius at which nothing may be left standing. slack: items' worth of luck allowed in a comparison, as
    standard errors of a share of one half.
    """

    attack: PGD
    images: int = 32
    queries: int = 200
    huge: float = 0.5
    slack: float = 1.0
    actions: tuple[str, ...] | None = None


def distrust(system: Known, batch: Batch, probe: Probe, *, seed: int) -> list[Flag]:
    """The flags of each action, its name behind the colon; `ok` false means: do not believe a robustness that rests on it.

    "Falls" is: fooled and not flagged, by the white box of that action.
    """
    rows = torch.arange(min(probe.images, len(batch)), device=batch.images.device)
    flags: list[Flag] = []
    with Target.of(system, batch.take(rows)) as target:
        for action in system.actions if probe.actions is None else probe.actions:
            trial = Trial(target, action, probe, draw_seed(Generator().manual_seed(seed)))
            checks = [*slopes(trial), *radius(trial), *budget(trial), *rivals(trial)]
            flags += [replace(flag, name=f"{flag.name}:{action}") for flag in checks]
    return flags


@dataclass(frozen=True, slots=True)
class Trial:
    """One action before one attack; what was run once is kept."""

    target: Target
    action: str
    probe: Probe
    seed: int
    kept: dict[PGD, Best] = field(default_factory=dict)

    @property
    def luck(self) -> float:
        """How far two shares may lie apart for no reason."""
        return self.probe.slack * 0.5 / sqrt(len(self.target.batch))

    def victim(self, action: str | None = None) -> Watched:
        """The action without a weight on the suspicion: what is asked is whether the slope leads anywhere."""
        return Watched(self.target, action or self.action, "margin", weight=0.0)

    def run(self, attack: PGD) -> Best:
        """The best points of the attack on this action's white box."""
        if attack not in self.kept:
            self.kept[attack] = self.found(attack, self.victim())
        return self.kept[attack]

    def found(self, attack: PGD, victim: Watched) -> Best:
        """The stronger, pair by pair, of the ascent that looks at the task alone and the one that keeps unflagged."""
        best = attack.search(victim, self.seed, rule=combined)
        if self.target.system.threshold < float("inf"):
            other = attack.search(victim, self.seed, rule=RULES["selective"])
            if (other.success & ~best.success).any():
                best.update(other.x, victim.query(other.x, victim.all), victim.all)
        return best

    def share(self, attack: PGD) -> float:
        """How many fall to it."""
        return _mean(self.run(attack).success)

    def fooled(self, x: Tensor) -> Bool[Tensor, " n"]:
        """Which images fall as they are."""
        victim = self.victim()
        return victim.query(x, victim.all).success


def slopes(trial: Trial) -> Iterator[Flag]:
    """Zero and tiny slopes, at random points of the ball: what a masked gradient looks like from the inside."""
    victim = trial.victim()
    start = trial.probe.attack.threat.sample(victim.clean, victim.keys, trial.seed)
    x = start.detach().requires_grad_()
    value = victim.look(x, victim.all).task
    size = victim.gradient(value, x, victim.all).float().flatten(1).abs().amax(dim=1)
    zero, tiny = _mean(size == 0), _mean(~(size > TINY))
    yield Flag("slope_zero", zero < 0.01, zero, 0.01, "share of pairs whose slope is exactly zero or cut off")
    meaning = f"share of pairs whose largest slope is at most {TINY:g} logits a pixel, or not a number"
    yield Flag("slope_tiny", tiny < 0.01, tiny, 0.01, meaning)


def radius(trial: Trial) -> Iterator[Flag]:
    """A huge ball leaves nothing; a larger one leaves no more than a smaller one."""
    attack, threat = trial.probe.attack, trial.probe.attack.threat
    ball = Ball("linf", trial.probe.huge)
    wide = replace(attack, threat=ball, steps=2 * attack.steps, step=0.1, decay=True, random_start=False)
    standing = 1 - trial.share(wide)
    yield Flag(
        "huge_ball", standing == 0, standing, 0.0, f"share that stands at an l_inf radius of {trial.probe.huge:g}"
    )
    if isinstance(threat, Ball):
        shares = [trial.share(replace(attack, threat=Ball(threat.norm, k * threat.eps))) for k in (0.5, 1.0, 2.0)]
        drop = max(a - b for a, b in pairwise(shares))
        yield Flag("radius_helps", drop <= trial.luck, drop, trial.luck, "no smaller share falls at twice the radius")


def budget(trial: Trial) -> Iterator[Flag]:
    """More steps are not weaker; and if they are still stronger, there were too few."""
    attack = trial.probe.attack
    half, whole, twice = (replace(attack, steps=max(1, int(k * attack.steps))) for k in (0.5, 1, 2))
    drop = max(trial.share(half) - trial.share(whole), trial.share(whole) - trial.share(twice))
    yield Flag("steps_help", drop <= trial.luck, drop, trial.luck, "no smaller share falls with twice the steps")
    gain = trial.share(twice) - trial.share(whole)
    yield Flag(
        "converged", gain <= trial.luck, gain, trial.luck, "twice the steps do not fell more: the loss has stopped"
    )


def rivals(trial: Trial) -> Iterator[Flag]:
    """White box >= black box >= noise, and >= what was crafted on the undefended model and knows nothing of this one."""
    attack, victim = trial.probe.attack, trial.victim()
    noise = _mean(trial.fooled(Noise(attack.threat).threat.sample(victim.clean, victim.keys, trial.seed)))
    white = trial.share(attack)
    black = white
    if isinstance(attack.threat, Ball) and attack.threat.norm != "l0":
        black = _mean(Square(attack.threat, queries=trial.probe.queries).search(trial.victim(), trial.seed).success)
        yield _order("black_box_not_stronger", trial, black - white, "random search fells no more than the white box")
        yield _order("noise_not_stronger", trial, noise - black, "noise fells no more than random search")
    yield _order("noise_not_strongest", trial, noise - white, "noise fells no more than the white box")
    first = trial.target.system.actions[0]
    if trial.action != first:
        foreign = trial.found(attack, trial.victim(first))
        excess = _mean(trial.fooled(foreign.x)) - white
        yield _order("undefended_not_stronger", trial, excess, "what is crafted on the first action fells no more here")


def _order(name: str, trial: Trial, excess: float, meaning: str) -> Flag:
    return Flag(name, excess <= trial.luck, excess, trial.luck, meaning)


def _mean(hits: Bool[Tensor, " n"] | Float[Tensor, " n"]) -> float:
    return float(hits.float().mean())
