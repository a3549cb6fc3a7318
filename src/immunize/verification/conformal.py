"""A threshold with a promise: split-conformal prediction on clean scores."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Threshold:
    """A pair is flagged where either score is above its threshold; together they flag at most `alpha` of clean pairs.

    Each holds at alpha / 2 by itself (Bonferroni). Infinite: there were too few clean scores to promise anything else.
    """

    misaligned: float
    manipulated: float
    alpha: float


def conformal(clean: Float[Tensor, " n"], alpha: float) -> float:
    """The k-th smallest clean score, k = ceil((n + 1)(1 - alpha)): P(score > it) <= alpha for one more exchangeable pair.

    Infinite where k > n. The probability is over the draw of the n as well (Vovk et al. 2005, sec. 2.2; arXiv:2107.07511
    sec. 1): with n given, the realized rate scatters as Beta(n + 1 - k, k). Raises ValueError for an alpha outside (0, 1).
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha: a share strictly between 0 and 1, not {alpha}")
    k = math.ceil((len(clean) + 1) * (1 - alpha) - 1e-9)  # 1 - .9 is not .1
    return float(clean.sort().values[k - 1]) if k <= len(clean) else math.inf


def calibrated(misaligned: Float[Tensor, " n"], manipulated: Float[Tensor, " n"], alpha: float) -> Threshold:
    """Both thresholds from the scores of clean pairs that nothing else was fitted on."""
    return Threshold(conformal(misaligned, alpha / 2), conformal(manipulated, alpha / 2), alpha)
