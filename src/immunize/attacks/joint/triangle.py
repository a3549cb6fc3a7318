"""Where to take the gradient: the best of random points between the clean image, the last iterate and the present one."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from immunize.attacks.image.pgd import PGD, Point
from immunize.attacks.victim import Rows, Victim
from immunize.batch import Signal
from immunize.rng import uniform


class Triangle:
    """A rule for `PGD.search`: its gradient not at x_k, but at the most useful of `samples` points of the triangle.

    The points are w . (x_k, x_{k-1}, clean), w uniform on the simplex, or with `ordered` its part where
    w(x_k) <= w(x_{k-1}) <= w(clean); useful is what raises the objective most when x_k takes a step along the point's
    own gradient, the step projected before it is scored. The ascent over, `last` is the iterate before the final one.
    """

    def __init__(self, image: PGD, victim: Victim, seed: int, samples: int, ordered: bool = False) -> None:
        self.image = image
        self.seed = seed
        self.samples = samples
        self.ordered = ordered
        self.last = victim.clean.clone()

    def __call__(self, victim: Victim, at: Point) -> Signal:
        if at.k == 0:
            self.last[at.rows] = victim.clean[at.rows]
        point = self._best(victim, at).requires_grad_()
        self.last[at.rows] = at.x.detach()
        return self.image.gradient(victim, at._replace(x=point, value=victim.judge(point, at.rows).value))

    def _best(self, victim: Victim, at: Point) -> Signal:
        """The sampled point whose gradient leads x_k to the highest value."""
        count, rows = self.samples, at.rows.repeat(self.samples)
        corners = torch.stack([at.x.detach(), self.last[at.rows], victim.clean[at.rows]], dim=1)
        weights = self._weights(victim, at.k, at.rows)
        points = torch.einsum("nsk,nk...->sn...", weights, corners).flatten(0, 1).requires_grad_()
        clean, threat = victim.clean[rows], self.image.threat
        gradient = victim.gradient(victim.judge(points, rows).value, points, rows)
        step = self.image.length(at.k) * threat.reach(clean)
        moved = threat.project(
            at.x.detach().repeat(count, *[1] * (clean.dim() - 1)) + step * threat.steepest(gradient), clean
        )
        best = victim.query(moved, rows).value.view(count, -1).argmax(dim=0)
        return points.detach().unflatten(0, (count, -1))[best, torch.arange(len(best), device=best.device)]

    def _weights(self, victim: Victim, k: int, rows: Rows) -> Float[Tensor, "n s 3"]:
        """Uniform on the simplex, by exponentials over their sum, for each image apart."""
        draws = uniform(self.seed + k, victim.keys[rows.cpu()], 3 * self.samples).view(-1, self.samples, 3)
        weights = -(1 - draws).log().to(victim.clean.device) + 1e-12
        weights = weights / weights.sum(dim=2, keepdim=True)
        return weights.sort(dim=2).values if self.ordered else weights
