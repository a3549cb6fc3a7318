"""Twelve tests that would show that learning did nothing; a failure is reported, not repaired."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from immunize.adaptation.skeptic.bench import Bench, Verdict
from immunize.adaptation.skeptic.context import (
    headroom,
    held_out_regime,
    permuted_reward,
    shuffled_context,
    single_regime,
)
from immunize.adaptation.skeptic.labels import label_supply, online, poisoned_labels
from immunize.adaptation.skeptic.rivals import discounting, ensemble, simpler_rivals, worst_regime

TESTS: tuple[Callable[[Bench], Verdict], ...] = (
    headroom, shuffled_context, simpler_rivals, discounting, online, permuted_reward, single_regime, held_out_regime,
    ensemble, worst_regime, label_supply, poisoned_labels,
)  # fmt: skip


def doubts(bench: Bench) -> Iterator[Verdict]:
    """The verdict of each test, in order."""
    for test in TESTS:
        yield test(bench)


__all__ = ["TESTS", "Bench", "Verdict", "doubts"]
