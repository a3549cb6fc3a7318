"""Where to go from a point with two slopes: up the task's, down the detector's, each of its own size."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from immunize.attacks.image.pgd import Point
from immunize.attacks.victim import Victim
from immunize.batch import Signal
from immunize.evaluation.adaptive.target import Watched

Mode = Literal["sum", "selective", "orthogonal"]


def combined(victim: Victim, at: Point) -> Signal:
    """d (task - weight * suspicion) / dx as it is."""
    assert isinstance(victim, Watched)
    return unit(victim.slope(at))


def selective(victim: Victim, at: Point) -> Signal:
    """The task's slope until fooled, then down the detector's where it has one (arXiv:2106.15023, Selective PGD)."""
    task, suspicion, down = _apart(victim, at)
    return torch.where(down, -suspicion, task)


def orthogonal(victim: Victim, at: Point) -> Signal:
    """As `selective`, less what the step would do to the other score (arXiv:2106.15023, Orthogonal PGD)."""
    task, suspicion, down = _apart(victim, at)
    return torch.where(down, without(-suspicion, task), without(task, suspicion))


RULES = {"sum": combined, "selective": selective, "orthogonal": orthogonal}


def without(a: Signal, b: Signal) -> Signal:
    """a - <a, b> / <b, b> b, example by example; a itself where b is 0, or where nothing of a would be left."""
    product, square = (a * b).flatten(1).sum(dim=1), b.square().flatten(1).sum(dim=1)
    rest = a - _column(product / square.clamp(min=1e-30), a) * b
    left = rest.flatten(1).norm(dim=1) > 1e-4 * a.flatten(1).norm(dim=1)
    return torch.where(_column(left, a), rest, a)


def unit(gradient: Signal) -> Signal:
    """The gradient in float32 over its largest entry, so that no defense hides by making it small; 0 stays 0."""
    gradient = torch.nan_to_num(gradient.float())
    largest = gradient.flatten(1).abs().amax(dim=1)
    return gradient / _column(torch.where(largest > 0, largest, torch.ones_like(largest)), gradient)


def _apart(victim: Victim, at: Point) -> tuple[Signal, Signal, Tensor]:
    """Both slopes, each of its own size, and for which examples it is the detector's turn."""
    assert isinstance(victim, Watched)
    task, suspicion, fooled = victim.slopes(at)
    watched = suspicion.flatten(1).abs().amax(dim=1) > 0
    return unit(task), unit(suspicion), _column(fooled & watched, task)


def _column(values: Tensor, like: Signal) -> Tensor:
    return values.view(-1, *[1] * (like.dim() - 1))
