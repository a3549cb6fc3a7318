"""Projected gradient ascent with momentum that chooses its own step size."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Generator, Tensor

from immunize.attacks.victim import Best, Judged, Rows, Victim, check_leaving, searched
from immunize.batch import Batch, Signal
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.objectives import Name, fooled
from immunize.threats import Ball, Waveform


@frozen
class APGD:
    """x <- project(x + m (z - x) + (1 - m) (x - x_before)), z = project(x + eta * reach * steepest(grad)).

    eta is 2 at first, and at each checkpoint halved for the examples that rose in fewer than `rho` of the steps since the
    last one, or whose maximum has not moved although eta was not halved there; these go back to their maximum. m is
    `momentum`, 1 in the first step. steps + 1 points are judged. restarts: further random starts. objective: see
    `immunize.objectives`. targeted: towards `Batch.targets`. targets: away from the own texts, towards each of so many
    of the likeliest wrong texts in turn (APGD-T; 0: untargeted). early_stop: a fooled image leaves, with all its further
    costs. Croce and Hein, arXiv:2003.01690 alg. 1; targets sec. 5.
    """

    threat: Ball | Waveform
    steps: Annotated[int, Field(ge=0)] = 100
    restarts: Annotated[int, Field(ge=1)] = 1
    objective: Name = "cross_entropy"
    targeted: bool = False
    targets: Annotated[int, Field(ge=0)] = 0
    rho: Annotated[float, Field(ge=0, le=1)] = 0.75
    momentum: Annotated[float, Field(gt=0, le=1)] = 0.75
    early_stop: bool = False
    kind: Literal["apgd"] = "apgd"

    def __post_init__(self) -> None:
        if isinstance(self.threat, Ball) and self.threat.norm == "l0":
            raise ValueError("threat: apgd moves in l_inf or l_2; for l_0 use pgd")
        if self.targets and self.targeted:
            raise ValueError("targets: a targeted attack has its targets in the batch; leave one of the two out")
        check_leaving(self.objective, self.early_stop)

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        return searched(self.search, model, batch, rng, self.objective, self.targeted)

    def search(self, victim: Victim, seed: int) -> Best:
        """The best of all starts and targets for each example of `victim`, whatever its signals are."""
        best = Best(victim.clean)
        aims = rivals(victim, self.targets).unbind(dim=1) if self.targets else (None,)
        for run, aim in enumerate(aim for aim in aims for _ in range(self.restarts)):
            wanted = torch.ones_like(best.success) if aim is None else aim >= 0
            rows = victim.all[wanted & ~best.success] if self.early_stop else victim.all[wanted]
            self._ascend(victim, best, rows, aim, seed + run)
        return best

    def _ascend(self, victim: Victim, best: Best, rows: Rows, aim: Int[Tensor, " all"] | None, seed: int) -> None:
        clean, checkpoints, last = victim.clean[rows], _checkpoints(self.steps), 0
        track = _Track.at(rows, clean, self.threat.sample(clean, victim.keys[rows.cpu()], seed))
        for k in range(self.steps + 1):
            x = self._next(track, 1.0 if k == 1 else self.momentum) if k else track.x
            x = x.detach().requires_grad_(k < self.steps)
            judged = _judge(victim, x, track.rows, aim)
            best.update(x, judged, track.rows)
            if k == self.steps or not len(track.rows):
                break
            gradient = victim.gradient(judged.value, x, track.rows)
            track = track.moved(x.detach(), judged.value.detach().float(), gradient)
            if k in checkpoints:
                track, last = track.checked(self.rho * (k - last)), k
            if self.early_stop:
                left = ~best.success[track.rows]
                track = track if left.all() else _Track(*(part[left] for part in track))

    def _next(self, track: _Track, momentum: float) -> Signal:
        step = 2 * _column(track.size, track.x) * self.threat.reach(track.clean)
        z = self.threat.project(track.x + step * self.threat.steepest(track.gradient), track.clean)
        further = track.x + momentum * (z - track.x) + (1 - momentum) * (track.x - track.before)
        return self.threat.project(further, track.clean)


class _Track(NamedTuple):
    """Where each example is, was one step `before`, and its maximum `top` with the slope there.

    size: eta / 2. rises: steps upwards since the last checkpoint. peak: the maximum at that checkpoint. halved: there.
    """

    rows: Rows
    clean: Signal
    before: Signal
    x: Signal
    value: Float[Tensor, " n"]
    gradient: Signal
    top: Signal
    top_value: Float[Tensor, " n"]
    top_gradient: Signal
    size: Float[Tensor, " n"]
    rises: Int[Tensor, " n"]
    peak: Float[Tensor, " n"]
    halved: Bool[Tensor, " n"]

    @classmethod
    def at(cls, rows: Rows, clean: Signal, x: Signal) -> _Track:
        """Every example at its start, where nothing is known yet."""
        unknown = torch.full((len(rows),), -torch.inf, device=x.device)
        size, rises = torch.ones_like(unknown), torch.zeros_like(rows)
        return cls(rows, clean, x, x, unknown, x, x, unknown, x, size, rises, unknown, rises < 0)

    def moved(self, x: Signal, value: Float[Tensor, " n"], gradient: Signal) -> _Track:
        higher = value > self.top_value
        return self._replace(
            before=self.x,
            x=x,
            value=value,
            gradient=gradient,
            rises=self.rises + (value > self.value),
            top=torch.where(_column(higher, x), x, self.top),
            top_value=torch.where(higher, value, self.top_value),
            top_gradient=torch.where(_column(higher, x), gradient, self.top_gradient),
        )

    def checked(self, enough: float) -> _Track:
        """Half the step, from the maximum, where it is not worth going on with this one."""
        stuck = (self.rises < enough) | (~self.halved & (self.top_value == self.peak))
        return self._replace(
            x=torch.where(_column(stuck, self.x), self.top, self.x),
            value=torch.where(stuck, self.top_value, self.value),
            gradient=torch.where(_column(stuck, self.x), self.top_gradient, self.gradient),
            size=torch.where(stuck, self.size / 2, self.size),
            rises=torch.zeros_like(self.rises),
            peak=self.top_value,
            halved=stuck,
        )


def rivals(victim: Victim, count: int) -> Int[Tensor, "b k"]:
    """The `count` likeliest wrong texts of each clean example, -1 where it has no more; one forward pass."""
    with torch.no_grad():
        logits = victim.logits(victim.clean, victim.all)
    top = logits.masked_fill(victim.bank.own, -torch.inf).topk(min(count, logits.shape[1]), dim=1)
    return top.indices.masked_fill(top.values.isinf(), -1)


def _judge(victim: Victim, x: Signal, rows: Rows, aim: Int[Tensor, " all"] | None) -> Judged:
    """The value towards `aim`, where there is one; the verdict is that on any wrong text."""
    if aim is None:
        return victim.judge(x, rows)
    image, bank = victim.embed(x, rows), victim.bank.take(rows)
    value = victim.objective(image, replace(bank, target=aim[rows]))
    return Judged(value, fooled(bank.logits(image.detach()), bank))


def _checkpoints(steps: int) -> set[int]:
    """ceil(p_j * steps), p = 0, 0.22, 0.41, 0.57, ...: each gap 0.03 less than the one before, but at least 0.06."""
    found, at, gap = set(), 0, 25  # in hundredths, so that no rounding adds a step
    while at <= 100:
        found.add(-(-at * steps // 100))
        gap = max(gap - 3, 6)
        at += gap
    return found


def _column(values: Tensor, like: Signal) -> Tensor:
    return values.view(-1, *[1] * (like.dim() - 1))
