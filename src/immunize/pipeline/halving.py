"""Asynchronous successive halving: which point is tried next, and for how long (ASHA, arXiv:1810.05934 algorithm 2)."""

from __future__ import annotations

from collections.abc import Sequence


class Halving:
    """Points 0 ... n - 1 climb `rungs` rungs; of those that a rung has measured, the best 1 / `eta` may climb.

    Nobody waits for a rung to be complete: `next` promotes whoever is in the best 1 / eta so far, and else starts a new
    point at the bottom. With one rung it is the plain grid.
    """

    def __init__(self, points: int, rungs: int = 1, eta: int = 3) -> None:
        self.points, self.rungs, self.eta = points, rungs, eta
        self.scores: list[dict[int, float]] = [{} for _ in range(rungs)]  # rung -> point -> its score
        self._begun: list[set[int]] = [set() for _ in range(rungs)]

    def next(self) -> tuple[int, int] | None:
        """(point, rung) to try now; None where nothing can be begun before something ends, or at all."""
        for rung in reversed(range(self.rungs - 1)):
            for point in self.promotable(rung):
                return self._begin(point, rung + 1)
        fresh = next((point for point in range(self.points) if point not in self._begun[0]), None)
        return None if fresh is None else self._begin(fresh, 0)

    def promotable(self, rung: int) -> Sequence[int]:
        """The points in the best 1 / eta of those measured at this rung that have not begun the next one, best first."""
        scores = self.scores[rung]
        best = sorted(scores, key=lambda point: (-scores[point], point))[: len(scores) // self.eta]
        return [point for point in best if point not in self._begun[rung + 1]]

    def tell(self, point: int, rung: int, score: float) -> None:
        """A trial ended with this score, the higher the better; minus infinity for one that failed."""
        self.scores[rung][point] = score

    def _begin(self, point: int, rung: int) -> tuple[int, int]:
        self._begun[rung].add(point)
        return point, rung
