"""Projected gradient ascent on the pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Generator, Tensor
from torch.nn.functional import interpolate

from immunize.attacks.victim import Best, Rows, Victim, check_leaving, searched
from immunize.batch import Batch, Image, Signal
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.objectives import Name
from immunize.threats import Ball, Waveform


class Point(NamedTuple):
    """Where an ascent is: step k at `x` of examples `rows`, and the objective there, still differentiable in x.

    noise: what the resized copies draw from.
    """

    k: int
    x: Signal
    value: Float[Tensor, " n"]
    rows: Rows
    noise: Generator


Rule = Callable[[Victim, Point], Signal]  # the direction to go from a point, in place of the gradient there


@frozen
class PGD:
    """x <- project(x + step * reach * steepest(grad)), steps + 1 points judged, the best kept (arXiv:1706.06083 sec. 2.1).

    step: fraction of the threat's reach, multiplied along a cosine to 0 when `decay`. momentum: the direction is
    m <- momentum * m + grad / ||grad||_1 (arXiv:1710.06081 alg. 1). random_start: uniform in the ball, two-sided.
    restarts: further starts; each image keeps its best. scales: besides the image itself, resized copies (down or up and
    back, with `noise` added first) whose gradients are summed (SGA, arXiv:2307.14061 sec. 4.2). objective: see
    `immunize.objectives`; `infonce` takes the batch's other captions as negatives, the others are free of the batch.
    targeted: towards `Batch.targets`. early_stop: a fooled image leaves the batch, with all its further costs.
    The captions are those of the batch, encoded once.
    """

    threat: Ball | Waveform
    steps: Annotated[int, Field(ge=0)] = 10
    step: float = 0.25
    decay: bool = False
    momentum: Annotated[float, Field(ge=0)] = 0.0
    random_start: bool = True
    restarts: Annotated[int, Field(ge=1)] = 1
    scales: tuple[float, ...] = ()
    noise: float = 0.05
    objective: Name = "away"
    targeted: bool = False
    early_stop: bool = False
    kind: Literal["pgd"] = "pgd"

    def __post_init__(self) -> None:
        check_leaving(self.objective, self.early_stop)

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        return searched(self.search, model, batch, rng, self.objective, self.targeted)

    def search(self, victim: Victim, seed: int, start: Signal | None = None, rule: Rule | None = None) -> Best:
        """The best of all starts for each example of `victim`, whatever its signals are.

        Other attacks may bring a `start` of their own, and a `rule` of where to go in place of `gradient`.
        """
        best, rows = Best(victim.clean), victim.all
        for restart in range(self.restarts):
            x = self._start(victim, rows, seed + restart) if start is None else start[rows]
            self._ascend(victim, best, rows, x, Generator().manual_seed(seed + restart), rule or self.gradient)
            if self.early_stop:
                rows = victim.all[~best.success]
        return best

    def gradient(self, victim: Victim, at: Point) -> Signal:
        """The gradient of the objective, summed over the image and its resized copies."""
        copies = [victim.judge(_rescaled(at.x, s, self.noise, at.noise), at.rows).value for s in self.scales]
        return victim.gradient(torch.stack([at.value, *copies]).sum(dim=0), at.x, at.rows)

    def _start(self, victim: Victim, rows: Rows, seed: int) -> Signal:
        clean = victim.clean[rows]
        return self.threat.sample(clean, victim.keys[rows.cpu()], seed) if self.random_start else clean

    def _ascend(self, victim: Victim, best: Best, rows: Rows, x: Signal, noise: Generator, rule: Rule) -> None:
        clean = victim.clean[rows]
        velocity = torch.zeros_like(clean)
        for k in range(self.steps + 1):
            x = x.detach().requires_grad_(k < self.steps)
            judged = victim.judge(x, rows)
            best.update(x, judged, rows)
            if k == self.steps or not len(rows):
                break
            gradient = rule(victim, Point(k, x, judged.value, rows, noise))
            if self.momentum:
                gradient = velocity = self.momentum * velocity + _unit(gradient)
            step = self.length(k) * self.threat.reach(clean)
            x = self.threat.project(x.detach() + step * self.threat.steepest(gradient), clean)
            if self.early_stop:
                left = ~best.success[rows]
                rows, x, clean, velocity = rows[left], x[left], clean[left], velocity[left]

    def length(self, k: int) -> float:
        """The fraction of the reach that step k goes."""
        fade = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * k / self.steps)).item()) if self.decay else 1.0
        return self.step * fade


def _unit(gradient: Signal) -> Signal:
    """The gradient over its l_1 norm, example by example."""
    size = gradient.flatten(1).abs().sum(dim=1).clamp(min=1e-12)
    return gradient / size.view(-1, *[1] * (gradient.dim() - 1))


def _rescaled(x: Image, scale: float, noise: float, rng: Generator) -> Image:
    """The image with Gaussian noise (one draw for the whole batch, so batches do not matter), resized and back."""
    height, width = x.shape[-2:]
    x = x + noise * torch.randn(x.shape[1:], generator=rng).to(x.device)
    small = interpolate(x, (max(1, round(height * scale)), max(1, round(width * scale))), mode="bicubic")
    return interpolate(small, (height, width), mode="bicubic")
