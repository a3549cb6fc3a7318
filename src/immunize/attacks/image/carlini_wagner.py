"""The least perturbation and the margin weighed against each other, the weight searched."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Generator, Tensor

from immunize.attacks.image.nearest import Nearest
from immunize.attacks.victim import Best, Judged, Rows, Victim
from immunize.batch import Batch, Signal
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.threats import Ball

SHRINK = 0.99  # of the way to the box's faces, where tanh has no slope
PATIENCE = 25  # steps at least before an image is given up: its loss swings about the boundary
COAST = 2  # points in a row that are passed over at most


@frozen
class CarliniWagner:
    """min ||x - clean||^2 + c max(confidence - margin, 0) over w, x = tanh(w) in the box (arXiv:1608.04644 sec. V and VI).

    threat: an infinite ball asks for the nearest fooling image anywhere; in a finite one the result is projected onto it
    and judged again. steps, learning_rate: of Adam, which starts anew in each of the `searches` for c; c starts at
    `constant` and is bisected image by image (sec. VI-D), or multiplied by 10 while nothing fools. confidence: the margin
    in logits that counts as found. targeted: towards `Batch.targets`. abort_early: an image whose loss has not fallen by
    0.01 % in a tenth of the steps leaves the search; fewer passes, longer distances. Each image keeps the nearest point of
    all that fool with confidence.
    """

    threat: Ball = Ball("l2", torch.inf)
    steps: Annotated[int, Field(ge=0)] = 100
    learning_rate: Annotated[float, Field(gt=0)] = 0.01
    constant: Annotated[float, Field(gt=0)] = 1.0
    searches: Annotated[int, Field(ge=1)] = 5
    confidence: Annotated[float, Field(ge=0)] = 0.0
    targeted: bool = False
    abort_early: bool = False
    kind: Literal["carlini_wagner"] = "carlini_wagner"

    def __post_init__(self) -> None:
        if self.threat.norm != "l2":
            raise ValueError(f"threat: this is the l2 attack of Carlini and Wagner, not {self.threat.norm}")

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        with Victim.of(model, batch, "margin", self.targeted) as victim:
            return victim.finish(batch, self.search(victim))

    def search(self, victim: Victim) -> Best:
        """The nearest point found for each example of `victim`, whatever its signals are."""
        near = Nearest(self.threat, victim.clean)
        c = torch.full_like(near.value, float(self.constant))
        lower, upper = torch.zeros_like(c), torch.full_like(c, torch.inf)
        for _ in range(self.searches):
            found = self._descend(victim, near, c)
            lower, upper = torch.where(found, lower, c), torch.where(found, c, upper)
            c = torch.where(upper.isinf(), 10 * c, (lower + upper) / 2)
        return near.inside(victim)

    def _descend(self, victim: Victim, near: Nearest, c: Float[Tensor, " b"]) -> Bool[Tensor, " b"]:
        """Adam on w; says which images were found to fool with confidence."""
        start = torch.atanh(SHRINK * (2 * victim.clean - 1))
        w, adam, watch = start.clone(), Adam(start), Watch(victim, near, self.confidence, self.steps)
        lowest, since, rows = torch.full_like(c, torch.inf), torch.zeros_like(c), victim.all
        patience = max(PATIENCE, self.steps // 10) if self.abort_early else self.steps
        for k in range(self.steps + 1):
            clean, tanh = victim.clean[rows], w[rows].tanh()
            x = (clean + (tanh - start[rows].tanh()) / 2).clamp(0, 1)
            climb, short = watch.look(x, rows, k), (self.confidence - watch.value[rows]).clamp(min=0)
            loss = (x - clean).flatten(1).square().sum(dim=1) + c[rows] * short
            fell = loss < 0.9999 * lowest[rows]
            lowest[rows], since[rows] = torch.minimum(loss, lowest[rows]), torch.where(fell, 0, since[rows] + 1)
            slope = (2 * (x - clean) - _column(c[rows], x) * climb) * (1 - tanh.square()) / 2
            w[rows] -= self.learning_rate * adam.direction(slope, rows, k)
            rows = rows[(loss > 0) & (since[rows] <= patience)]
            if not len(rows):
                break
        return watch.found


class Adam:
    """The direction m / sqrt(v) of arXiv:1412.6980, for the examples that are still there."""

    def __init__(self, like: Signal) -> None:
        self.mean, self.square = torch.zeros_like(like), torch.zeros_like(like)

    def direction(self, slope: Signal, rows: Rows, k: int) -> Signal:
        """Of step k = 0, 1, ..."""
        self.mean[rows] = mean = 0.9 * self.mean[rows] + 0.1 * slope
        self.square[rows] = square = 0.999 * self.square[rows] + 0.001 * slope.square()
        return mean / (1 - 0.9 ** (k + 1)) / ((square / (1 - 0.999 ** (k + 1))).sqrt() + 1e-8)


class Watch:
    """Looks at the margins no more often than they matter: 4 of 5 points of a descent fool, and ask for no gradient.

    A point after one that fooled is judged without a gradient, and again with one only if it no longer fools; and it is
    passed over, up to COAST in a row, while the margin, falling at each as since the last look, would stay at `confidence`.
    """

    def __init__(self, victim: Victim, near: Nearest, confidence: float, steps: int) -> None:
        self.victim, self.near, self.confidence, self.steps = victim, near, confidence, steps
        self.value = torch.full_like(near.value, -torch.inf)
        self.found, self.fooled = self.value > 0, self.value > 0
        self.due = torch.zeros_like(victim.all)

    def look(self, x: Signal, rows: Rows, k: int) -> Signal:
        """The gradients of the margins that fall short, 0 elsewhere; keeps what fools."""
        climb, due = torch.zeros_like(x), (self.due[rows] <= k) | (k == self.steps)
        at, rows = x[due], rows[due]
        if len(rows):
            value, climb[due] = self._judge(at, rows, k)
            fooled = (value > 0) & (value >= self.confidence)
            self.near.update(at, Judged(value, fooled), rows)
            fall = (self.value[rows] - value).clamp(min=1e-6)
            coast = ((value - self.confidence) / fall).clamp(0, COAST).long()
            self.due[rows] = k + 1 + torch.where(fooled, coast, 0)
            self.value[rows], self.fooled[rows] = value, fooled
            self.found[rows] |= fooled
        return climb

    def _judge(self, x: Signal, rows: Rows, k: int) -> tuple[Float[Tensor, " n"], Signal]:
        quiet = self.fooled[rows] | (k == self.steps)
        value, climb = torch.zeros(len(rows), device=x.device), torch.zeros_like(x)
        if quiet.any():
            value[quiet] = self.victim.query(x[quiet], rows[quiet]).value
        short = ~quiet | ~((value > 0) & (value >= self.confidence))
        if short.any() and k < self.steps:
            at = x[short].requires_grad_()
            margin = self.victim.judge(at, rows[short]).value
            value[short] = margin.detach()
            counts = (margin <= 0) | (margin < self.confidence)
            climb[short] = self.victim.gradient(margin, at, rows[short]) * _column(counts, at)
        return value, climb


def _column(values: Tensor, like: Signal) -> Tensor:
    return values.view(-1, *[1] * (like.dim() - 1))
