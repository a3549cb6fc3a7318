"""What an attack did to each pair, as served; and the worst of all attacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from immunize.batch import Batch
from immunize.config import frozen
from immunize.evaluation.adaptive.system import Known
from immunize.evaluation.adaptive.target import Target
from immunize.metrics.interval import wilson


@frozen
class Share:
    """A percentage of the items with its 95 % interval (Wilson)."""

    percent: float
    low: float
    high: float

    @classmethod
    def of(cls, hits: Sequence[bool]) -> Share:
        """100 * mean(hits)."""
        interval = wilson(sum(hits), len(hits))
        return cls(100 * sum(hits) / len(hits), interval.low, interval.high)


@frozen
class Row:
    """One attack, item by item, over its candidates: `wrong`, `unflagged`, `success` in at least one of them, served once.

    success: wrong and unflagged *in the same candidate*. ever: so in at least one of `draws` servings; rate: the mean over
    servings, of the candidate where it is largest. actions: how often each was taken. candidates: their names, and how
    many items each took. forwards, backwards: passes an item, of all candidates.
    """

    wrong: list[bool]
    unflagged: list[bool]
    success: list[bool]
    ever: list[bool]
    rate: list[float]
    actions: dict[str, int]
    candidates: dict[str, int]
    draws: int
    forwards: float
    backwards: float
    seconds: float


def served(system: Known, candidates: Mapping[str, Batch], draws: int, seconds: float = 0.0) -> Row:
    """Each candidate before the system, `draws` times, its images rounded to 8 bits as a file would hold them."""
    n = len(next(iter(candidates.values())))
    wrong, unflagged, success, ever = (torch.zeros(n, dtype=torch.bool) for _ in range(4))
    rate, taken = torch.zeros(n), torch.zeros(len(system.actions), dtype=torch.int64)
    fell: dict[str, int] = {}
    for name, batch in candidates.items():
        answers = [_answer(system, batch) for _ in range(draws)]
        margins, flags, actions = (torch.stack(part) for part in zip(*answers))
        done = (margins > 0) & ~flags
        fell[name] = int(done[0].sum())
        wrong |= margins[0] > 0
        unflagged |= ~flags[0]
        success |= done[0]
        ever |= done.any(dim=0)
        rate = torch.maximum(rate, done.float().mean(dim=0))
        taken += actions[0].bincount(minlength=len(taken))
    costs = [batch.outcome for batch in candidates.values() if batch.outcome is not None]
    return Row(
        wrong=wrong.tolist(),
        unflagged=unflagged.tolist(),
        success=success.tolist(),
        ever=ever.tolist(),
        rate=rate.tolist(),
        actions=dict(zip(system.actions, taken.tolist())),
        candidates=fell,
        draws=draws,
        forwards=float(sum(cost.forwards.sum() for cost in costs)) / n,
        backwards=float(sum(cost.backwards.sum() for cost in costs)) / n,
        seconds=seconds,
    )


def worst(rows: Iterable[Row]) -> Row:
    """Each item under the attack that it fares worst under; costs are added.

    An item counts as wrong where any attack makes it so: 100 less its share is plain robust accuracy, flags left aside.
    """
    rows = list(rows)
    return Row(
        wrong=_any(row.wrong for row in rows),
        unflagged=_any(row.unflagged for row in rows),
        success=_any(row.success for row in rows),
        ever=_any(row.ever for row in rows),
        rate=[max(rates) for rates in zip(*(row.rate for row in rows))],
        actions=_added(row.actions for row in rows),
        candidates={},
        draws=max(row.draws for row in rows),
        forwards=sum(row.forwards for row in rows),
        backwards=sum(row.backwards for row in rows),
        seconds=sum(row.seconds for row in rows),
    )


def joined(rows: Sequence[Row]) -> Row:
    """The rows of blocks of items, one after the other; costs an item are averaged over the items."""
    sizes = [len(row.wrong) for row in rows]

    def mean(costs: Iterable[float]) -> float:
        return sum(cost * size for cost, size in zip(costs, sizes)) / sum(sizes)

    return Row(
        wrong=[hit for row in rows for hit in row.wrong],
        unflagged=[hit for row in rows for hit in row.unflagged],
        success=[hit for row in rows for hit in row.success],
        ever=[hit for row in rows for hit in row.ever],
        rate=[rate for row in rows for rate in row.rate],
        actions=_added(row.actions for row in rows),
        candidates=_added(row.candidates for row in rows),
        draws=rows[0].draws,
        forwards=mean(row.forwards for row in rows),
        backwards=mean(row.backwards for row in rows),
        seconds=sum(row.seconds for row in rows),
    )


def _answer(system: Known, batch: Batch) -> tuple[Tensor, Tensor, Int[Tensor, " n"]]:
    """margin, flagged, action of each pair; on the CPU."""
    with Target.of(system, batch) as target:
        answer = target.serve(batch.images, torch.arange(len(batch), device=batch.images.device))
    return answer.margin.cpu(), answer.flagged.cpu(), answer.action.cpu()


def _any(columns: Iterable[Sequence[bool]]) -> list[bool]:
    return [any(item) for item in zip(*columns)]


def _added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counts:
        for name, count in one.items():
            total[name] = total.get(name, 0) + count
    return total
