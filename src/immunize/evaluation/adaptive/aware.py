"""A1: the attacker knows the detector, and goes up the task without going up the suspicion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from torch import Generator

from immunize.attacks import PGD
from immunize.batch import Batch
from immunize.config import frozen
from immunize.evaluation.adaptive.oblivious import chosen
from immunize.evaluation.adaptive.steps import RULES, Mode
from immunize.evaluation.adaptive.system import System
from immunize.evaluation.adaptive.target import Target, Watched
from immunize.rng import draw_seed

SWEEP = (0.0, 0.01, 0.1, 1.0, 10.0, 100.0)


@frozen
class Aware:
    """max over the threat of L_task - weight * suspicion, once for each weight; and Selective and Orthogonal PGD.

    attack: the ascent (threat, steps, restarts, objective), whose best point of an image is one that fools unflagged, then
    the highest value. modes: "sum" is the sweep, the others take one slope at a time (arXiv:2106.15023) and need no
    weight; they rank what fools by the sum at weight 1. actions: through which models (None: each). One candidate for each
    action and run; the item falls if any of them does.
    """

    attack: PGD
    weights: tuple[float, ...] = SWEEP
    modes: tuple[Mode, ...] = ("sum", "selective", "orthogonal")
    actions: tuple[str, ...] | None = None
    kind: Literal["aware"] = "aware"

    def __call__(self, system: System, batch: Batch, rng: Generator) -> dict[str, Batch]:
        seed, found = draw_seed(rng), {}
        with Target.of(system, batch) as target:
            for action in chosen(target.system, self.actions):
                for mode, weight in runs(self.modes, self.weights):
                    victim = Watched(target, action, self.attack.objective, weight)
                    best = self.attack.search(victim, seed, rule=RULES[mode])
                    found[f"{action}, {named(mode, weight)}"] = victim.finish(batch, best)
        return found


def runs(modes: tuple[Mode, ...], weights: tuple[float, ...]) -> Iterator[tuple[Mode, float]]:
    """Each mode with the weight that its points are ranked by; "sum" with each of the sweep."""
    for mode in modes:
        for weight in weights if mode == "sum" else (1.0,):
            yield mode, weight


def named(mode: Mode, weight: float) -> str:
    """What a run is called in a table."""
    return f"sum {weight:g}" if mode == "sum" else mode
