"""Attack success: how much of the recall an attack takes away."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from immunize.metrics.retrieval import recall


@dataclass(frozen=True, slots=True)
class Success:
    """Percent: `drop` in points of recall (Co-Attack, 2206.09391), `conditional` of what was right (SGA, 2307.14061).

    The two differ: an attack that breaks every hit of a model with 40 % recall has drop 40 and conditional 100.
    """

    drop: float
    conditional: float


def attack_success(clean: Int[Tensor, " n"], adversarial: Int[Tensor, " n"], k: int = 1) -> Success:
    """drop = R@k(clean) - R@k(adversarial); conditional = 100 * P(wrong after | right before), 0 if none was right."""
    right, wrong = clean < k, adversarial >= k
    broken = (right & wrong).sum().item()
    return Success(recall(clean, k) - recall(adversarial, k), 100.0 * broken / max(right.sum().item(), 1))
