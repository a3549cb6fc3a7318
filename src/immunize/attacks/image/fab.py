"""The nearest fooling image, found along the decision boundary."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Generator, Tensor

from immunize.attacks.image.apgd import rivals
from immunize.attacks.image.nearest import Nearest
from immunize.attacks.victim import Best, Judged, Rows, Victim, searched
from immunize.batch import Batch, Signal
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.objectives import fooled
from immunize.rng import uniform
from immunize.threats import Ball


@frozen
class FAB:
    """x <- (1 - a) (x + eta (p(x) - x)) + a (clean + eta (p(clean) - clean)), p the projection on the boundary at x.

    The boundary of f = z_t - z_own is taken to be flat; p stays in [0, 1]; a is the share of clean's way in both ways, at
    most `alpha`; eta overshoots. A fooling x goes back to clean + beta (x - clean), so each one is nearer than the last.
    targets: so many of the likeliest wrong texts t in turn. restarts: from the clean image, then from random points half
    as far as the nearest found. early_stop: an image fooled inside the threat leaves; without it the nearest is sought,
    and with an infinite ball nothing else. value: the margin. Croce and Hein, arXiv:1907.02044 alg. 1, targeted as in
    arXiv:2003.01690 sec. 5.
    """

    threat: Ball
    steps: Annotated[int, Field(ge=1)] = 100
    restarts: Annotated[int, Field(ge=1)] = 1
    targets: Annotated[int, Field(ge=1)] = 9
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.1
    eta: Annotated[float, Field(ge=1)] = 1.05
    beta: Annotated[float, Field(ge=0, le=1)] = 0.9
    early_stop: bool = False
    kind: Literal["fab"] = "fab"

    def __post_init__(self) -> None:
        if self.threat.norm == "l0":
            raise ValueError("threat: fab knows the boundary's distance in l_inf and l_2, not in l_0")

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        return searched(self.search, model, batch, rng)

    def search(self, victim: Victim, seed: int) -> Best:
        """The nearest fooling point of each example of `victim` or, where there is none, one of high margin."""
        near = Nearest(self.threat, victim.clean)
        for target in rivals(victim, self.targets).unbind(dim=1):
            for restart in range(self.restarts):
                rows = victim.all[(target >= 0) & self._goes_on(near, victim.all)]
                x = self._start(victim, near, rows, seed + restart) if restart else victim.clean[rows]
                self._walk(victim, near, rows, x, target)
        return near.inside(victim)

    def _walk(self, victim: Victim, near: Nearest, rows: Rows, x: Signal, target: Int[Tensor, " all"]) -> None:
        for k in range(self.steps + 1):
            if not len(rows):
                break
            x, clean = x.detach().requires_grad_(k < self.steps), victim.clean[rows]
            f, judged = _boundary(victim, x, rows, target)
            near.update(x, judged, rows)
            if k == self.steps:
                break
            gradient, x = victim.gradient(f, x, rows), x.detach()
            back = torch.where(_column(judged.success, x), clean + self.beta * (x - clean), x)
            rise = -f.detach() - (gradient * (back - x)).flatten(1).sum(dim=1)
            x = self._across(back, clean, gradient, rise)
            left = self._goes_on(near, rows)
            x, rows = x[left], rows[left]

    def _goes_on(self, near: Nearest, rows: Rows) -> Bool[Tensor, " n"]:
        """Whether there is something left to find: with early_stop not where the threat holds a fooling point."""
        found = near.found.success[rows] & (near.distance(rows) <= self.threat.eps)
        return ~found if self.early_stop else torch.ones_like(found)

    def _across(self, x: Signal, clean: Signal, gradient: Signal, rise: Float[Tensor, " n"]) -> Signal:
        """From x over the plane {z: <gradient, z - x> = rise}, pulled towards the point of it that is nearest to clean."""
        further = rise + (gradient * (x - clean)).flatten(1).sum(dim=1)
        both, planes = torch.cat([x, clean]), torch.cat([rise, further])
        steps = _onto(both, gradient.repeat(2, *[1] * (x.dim() - 1)), planes, self.threat.norm == "linf") - both
        here, there = self.threat.distance(both + steps, both).chunk(2)
        alpha = _column((here / (here + there).clamp(min=1e-12)).clamp(max=self.alpha), x)
        ahead, across = (both + self.eta * steps).chunk(2)
        return ((1 - alpha) * ahead + alpha * across).clamp(0, 1)

    def _start(self, victim: Victim, near: Nearest, rows: Rows, seed: int) -> Signal:
        clean = victim.clean[rows]
        found = near.distance(rows).clamp(max=self.threat.reach(clean))
        noise = (
            2 * uniform(seed, victim.keys[rows.cpu()], clean.shape[1:].numel()).to(clean.device).view(clean.shape) - 1
        )
        length = self.threat.distance(noise, torch.zeros_like(noise))
        return (clean + _column(found / 2 / length, clean) * noise).clamp(0, 1)


def _boundary(victim: Victim, x: Signal, rows: Rows, target: Int[Tensor, " all"]) -> tuple[Float[Tensor, " n"], Judged]:
    """z_target - z_own, 0 on the boundary that is sought, and the verdict on any wrong text."""
    image, bank = victim.embed(x, rows), victim.bank.take(rows)
    logits = bank.logits(image)
    own = logits.masked_fill(~bank.own, -torch.inf).amax(dim=1)
    f = logits.gather(1, target[rows, None])[:, 0] - own
    return f, Judged(victim.objective(image.detach(), bank), fooled(logits.detach(), bank))


def _onto(x: Signal, w: Signal, rise: Float[Tensor, " n"], even: bool) -> Signal:
    """The z in [0, 1] nearest to x in l_inf (`even`) or l_2 with <w, z - x> = rise, or where none is, its best corner.

    z moves by min(s * rate, room) along sign(w), the rate being 1 or |w|; s solves a concave, piecewise linear equation,
    on which Newton's method climbs to the root piece by piece and never past it.
    """
    largest = w.flatten(1).abs().amax(dim=1).clamp(min=1e-30)
    w, need = w * _column(rise.sign() / largest, w), rise.abs() / largest
    size, room = w.abs(), torch.where(w > 0, 1 - x, x)
    rate = torch.ones_like(size) if even else size
    s = torch.zeros_like(need)
    for _ in range(10):
        reached = _column(s, w) * rate
        gained = (size * torch.minimum(reached, room)).flatten(1).sum(dim=1)
        slope = (size * rate * (reached < room)).flatten(1).sum(dim=1)
        s = (s + (need - gained) / slope.clamp(min=1e-12)).clamp(max=1e9)
    return x + w.sign() * torch.minimum(_column(s, w) * rate, room)


def _column(values: Tensor, like: Signal) -> Tensor:
    return values.view(-1, *[1] * (like.dim() - 1))
