"""What an attack that looks for the nearest fooling point keeps, and what becomes of it in a ball that is too small."""

from __future__ import annotations

import torch

from immunize.attacks.victim import Best, Judged, Rows, Victim
from immunize.batch import Signal
from immunize.threats import Ball


class Nearest:
    """Of each example the nearest point that fools or, while none does, the one of highest value."""

    def __init__(self, threat: Ball, clean: Signal) -> None:
        self.threat, self.clean, self.found = threat, clean, Best(clean)
        self.value = self.found.value.clone()

    def update(self, x: Signal, judged: Judged, rows: Rows) -> None:
        """Keep what is better."""
        value, success = judged.value.detach().float(), judged.success
        nearness = -self.threat.distance(x.detach(), self.clean[rows])
        better = self.found.update(x, Judged(torch.where(success, nearness, value), success), rows)
        self.value[rows] = torch.where(better, value, self.value[rows])

    def distance(self, rows: Rows) -> torch.Tensor:
        """How far the nearest fooling points are; infinite where there is none."""
        return torch.where(self.found.success[rows], -self.found.value[rows], torch.inf)

    def inside(self, victim: Victim) -> Best:
        """The points, those outside the threat replaced by their projection onto it, which is judged again."""
        best = Best(self.clean)
        best.update(self.found.x, Judged(self.value, self.value > 0), victim.all)  # that it fools, however surely
        outside = victim.all[self.threat.distance(best.x, self.clean) > self.threat.eps]
        if not len(outside):
            return best
        x = self.threat.project(best.x[outside], self.clean[outside])
        judged = victim.query(x, outside)
        best.x[outside], best.value[outside], best.success[outside] = x, judged.value, judged.success
        return best
