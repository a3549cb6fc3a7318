"""CPU seconds of several ways to do one thing, taken in turns, so that a busy machine slows all of them alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Timing:
    """CPU seconds round by round, and what the last one gave."""

    seconds: tuple[float, ...]
    result: Any

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def over(self, other: Timing) -> float:
        """The median of the ratios within rounds."""
        return statistics.median(a / b for a, b in zip(self.seconds, other.seconds))


def in_turns(ways: Mapping[str, Callable[[], Any]], rounds: int, rivals: Collection[str] = ()) -> dict[str, Timing]:
    """Each way once a round; of the `rivals` only the quickest of the first round runs in the others too."""
    timings: dict[str, Timing] = {}
    for round_ in range(rounds):
        if round_ == 1:
            quickest = min(rivals, key=lambda name: timings[name].seconds[0], default=None)
            ways = {name: way for name, way in ways.items() if name not in rivals or name == quickest}
        for name, way in ways.items():
            gc.collect()
            start = time.process_time()
            result = way()
            taken = time.process_time() - start
            timings[name] = Timing((*timings[name].seconds, taken) if round_ else (taken,), result)
    return timings
