"""Recall against the size of the ball: a curve that must fall to the floor, or the gradients are masked."""

from __future__ import annotations

from dataclasses import replace

from immunize.attacks import PGD
from immunize.config import frozen
from immunize.data.loader import Pairs
from immunize.evaluation.blocks import here
from immunize.evaluation.results import Sweep
from immunize.evaluation.suite import changed, facing, score
from immunize.metrics.retrieval import recall
from immunize.models import DualEncoder
from immunize.threats import Ball, Norm, Radius


@frozen
class Curve:
    """Which attack, at which radii, on how many images (a smaller gallery than the tables': compare within a curve)."""

    attack: PGD
    eps: tuple[Radius, ...]
    images: int = 100

    @property
    def norm(self) -> Norm:
        """The ball's norm; raises ValueError where the attack's threat is no ball."""
        if not isinstance(self.attack.threat, Ball):
            raise ValueError(f"sweep.attack.threat: a curve over epsilon needs a ball, not {self.attack.threat}")
        return self.attack.threat.norm


def sweep(model: DualEncoder, curve: Curve, pairs: Pairs, *, seed: int, block: int) -> Sweep:
    """R@1 in both directions at each radius, the attack being otherwise the same."""
    some = pairs.head(curve.images)
    recalls = []
    for radius in curve.eps:
        name = f"eps {radius:.4f}"
        wider = replace(curve.attack, threat=Ball(curve.norm, radius))
        one = here(model, some, {name: wider}, len(some), seed=seed, block=block)[name]
        after = changed(some, one)
        reached = score(facing(model, after, len(some)), after).ranks
        recalls.append((round(recall(reached.image, 1), 2), round(recall(reached.caption, 1), 2)))
    tr, ir = zip(*recalls)
    return Sweep(attack="pgd", eps=list(curve.eps), tr_r1=list(tr), ir_r1=list(ir))
