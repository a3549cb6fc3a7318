"""How well a score tells attacked from clean; higher = more suspicious; all in percent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from immunize.metrics.interval import Interval

LEVELS = torch.tensor([0.025, 0.975], dtype=torch.float64)


@dataclass(frozen=True, slots=True)
class Detection:
    """AUROC, and the true-positive rates at a false-positive rate of 5 and of 1 percent, each with its 95 % interval."""

    auroc: float
    tpr5: float
    tpr1: float
    auroc_interval: Interval
    tpr5_interval: Interval
    tpr1_interval: Interval


def auroc(clean: Float[Tensor, " n"], attacked: Float[Tensor, " m"]) -> float:
    """100 P(attacked > clean) + 50 P(equal): the area under the ROC curve (Mann and Whitney 1947)."""
    return float(_auroc(clean, attacked, torch.ones(1, len(clean)), torch.ones(1, len(attacked))))


def tpr(clean: Float[Tensor, " n"], attacked: Float[Tensor, " m"], fpr: float) -> float:
    """100 P(attacked > t), t the smallest clean score that at most the share `fpr` of the clean scores exceed."""
    return float(_tpr(clean, attacked, torch.ones(1, len(clean)), torch.ones(1, len(attacked)), fpr))


def detection(
    clean: Float[Tensor, " n"],
    attacked: Float[Tensor, " m"],
    clean_ids: Sequence[str],
    attacked_ids: Sequence[str],
    *,
    rng: Generator,
    samples: int = 1000,
) -> Detection:
    """The figures, with percentile bootstrap intervals over image ids: what is made of one image is drawn together.

    Raises ValueError where there is no clean or no attacked score.
    """
    if not len(clean) or not len(attacked):
        raise ValueError(f"detection needs clean and attacked scores; here are {len(clean)} and {len(attacked)}")
    place = {i: k for k, i in enumerate(dict.fromkeys([*clean_ids, *attacked_ids]))}
    times = _draws(len(place), samples, rng)
    of_clean, of_attacked = (times[:, [place[i] for i in ids]] for ids in (clean_ids, attacked_ids))
    kept = (of_clean.sum(1) > 0) & (of_attacked.sum(1) > 0)
    weights = of_clean[kept], of_attacked[kept]
    return Detection(
        auroc(clean, attacked),
        tpr(clean, attacked, 0.05),
        tpr(clean, attacked, 0.01),
        _interval(_auroc(clean, attacked, *weights)),
        _interval(_tpr(clean, attacked, *weights, 0.05)),
        _interval(_tpr(clean, attacked, *weights, 0.01)),
    )


def _draws(count: int, samples: int, rng: Generator) -> Float[Tensor, "s k"]:
    """How often each of `count` things is drawn, `count` draws with replacement."""
    drawn = torch.randint(count, (samples, count), generator=rng)
    return torch.zeros(samples, count).scatter_add_(1, drawn, torch.ones(samples, count))


def _auroc(
    clean: Float[Tensor, " n"], attacked: Float[Tensor, " m"], w: Float[Tensor, "s n"], v: Float[Tensor, "s m"]
) -> Float[Tensor, " s"]:
    above = (attacked[:, None] > clean).double() + 0.5 * (attacked[:, None] == clean).double()
    return 100 * ((v.double() @ above) * w.double()).sum(1) / (v.double().sum(1) * w.double().sum(1))


def _tpr(
    clean: Float[Tensor, " n"],
    attacked: Float[Tensor, " m"],
    w: Float[Tensor, "s n"],
    v: Float[Tensor, "s m"],
    fpr: float,
) -> Float[Tensor, " s"]:
    order = clean.argsort(descending=True)
    exceed = w[:, order].double().cumsum(1)  # of the clean ones, counted down to each
    tail = exceed <= fpr * w.double().sum(1, keepdim=True) + 1e-9
    at = tail.sum(1).clamp(max=len(clean) - 1)  # the first that may not be exceeded
    return 100 * (v.double() * (attacked > clean[order][at][:, None])).sum(1) / v.double().sum(1)


def _interval(values: Float[Tensor, " s"]) -> Interval:
    low, high = values.quantile(LEVELS).tolist()
    return Interval(low, high)
