"""Where an attack on pixels may go: a norm ball around the clean image, inside [0, 1]."""

from __future__ import annotations

from fractions import Fraction
from math import inf, isinf
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float, Int
from pydantic import BeforeValidator, Field, PlainSerializer
from torch import Tensor

from immunize.batch import Signal
from immunize.config import frozen
from immunize.rng import uniform

Norm = Literal["linf", "l2", "l0"]


def _fraction(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value == "inf":
        return inf
    over, _, under = value.partition("/")
    return float(Fraction(over) / Fraction(under or 1))


def _written(value: float) -> float | str:
    return "inf" if isinf(value) else value  # JSON has no infinity


Radius = Annotated[float, Field(ge=0), BeforeValidator(_fraction), PlainSerializer(_written)]


@frozen
class Ball:
    """{x : ||x - clean||_norm <= eps} within [0, 1]; `eps` in pixels of [0, 1] (YAML may say "2/255" or "inf").

    For l_0 `eps` counts pixels, all channels of one together. An infinite ball is the whole box, for attacks that look
    for the nearest fooling image. Signals of any shape: the first axis is the batch, the second the channels.
    """

    norm: Norm
    eps: Radius

    def project(self, x: Signal, clean: Signal) -> Signal:
        """A point inside the ball and inside [0, 1]: box after ball (for l_2 feasible, not always the nearest point)."""
        if isinf(self.eps):
            return x.clamp(0, 1)
        delta = x - clean
        if self.norm == "linf":
            return (clean + delta.clamp(-self.eps, self.eps)).clamp(0, 1)
        if self.norm == "l2":
            return (clean + delta * (self.eps / _length(delta)).clamp(max=1)).clamp(0, 1)
        inside = x.clamp(0, 1)
        return torch.where(_largest(inside - clean, int(self.eps)), inside, clean)

    def reach(self, clean: Signal) -> float:
        """What a step's length is a fraction of: the radius, or for l_0 the whole range of a pixel."""
        return 1.0 if self.norm == "l0" or isinf(self.eps) else self.eps

    def steepest(self, gradient: Signal) -> Signal:
        """argmax <d, gradient> over unit d: the sign for l_inf, the direction for l_2 (0 where the gradient is 0).

        For l_0 the gradient over its largest entry: the projection then keeps the pixels that moved most.
        """
        if self.norm == "linf":
            return gradient.sign()
        if self.norm == "l2":
            return gradient / _length(gradient)
        return gradient / _column(gradient.flatten(1).abs().amax(dim=1).clamp(min=1e-12), gradient)

    def sample(self, clean: Signal, keys: Int[Tensor, " b"], seed: int) -> Signal:
        """A random start: uniform in the l_inf ball (two-sided), a random direction and radius for l_2.

        For l_0 random values at `eps` random pixels; for an infinite ball a random image.
        """
        noise = uniform(seed, keys, clean.shape[1:].numel() + 1).to(clean.device)
        direction = (noise[:, 1:] * 2 - 1).view(clean.shape)
        if self.norm == "l0" or isinf(self.eps):
            return self.project(noise[:, 1:].view(clean.shape), clean)
        if self.norm == "l2":
            direction = direction / _length(direction) * _column(noise[:, 0], clean)
        return self.project(clean + self.eps * direction, clean)

    def distance(self, x: Signal, clean: Signal) -> Float[Tensor, " b"]:
        """||x - clean||_norm of each example; for l_0 the number of pixels that differ."""
        delta = x - clean
        if self.norm == "linf":
            return delta.flatten(1).abs().amax(dim=1)
        if self.norm == "l2":
            return delta.flatten(1).norm(dim=1)
        return (delta != 0).flatten(2).any(dim=1).sum(dim=1).float()


def _largest(delta: Signal, count: int) -> Tensor:
    """A mask of the `count` pixels of each example that moved most in l_2 over their channels."""
    moved = delta.flatten(2).square().sum(dim=1)
    mask = torch.zeros_like(moved, dtype=torch.bool)
    mask.scatter_(1, moved.topk(min(count, moved.shape[1]), dim=1).indices, True)
    return mask.view(len(delta), 1, *delta.shape[2:])


def _length(x: Signal) -> Tensor:
    """The l_2 norm of each example, kept off 0 so that radius 0 and gradient 0 divide to 0."""
    return _column(x.flatten(1).norm(dim=1).clamp(min=1e-12), x)


def _column(values: Float[Tensor, " b"], like: Signal) -> Tensor:
    return values.view(-1, *[1] * (like.dim() - 1))
