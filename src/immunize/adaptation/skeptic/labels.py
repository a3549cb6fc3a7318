"""What learning while serving is worth, and what it costs when its labels are few, late or false."""

from __future__ import annotations

from dataclasses import replace

from immunize.adaptation.comparing import difference
from immunize.adaptation.contenders import Random
from immunize.adaptation.gain import Summary
from immunize.adaptation.playing import Feedback
from immunize.adaptation.skeptic.bench import Bench, Verdict

SUPPLIES, DELAYS, POISONS = (1.0, 0.2, 0.05, 0.01), (0, 50), (0.0, 0.05, 0.1, 0.2)
COST = 0.1


def _gain(summary: Summary) -> float:
    return summary.gain


def online(bench: Bench) -> Verdict:
    """5: a bandit that goes on learning gains more than the same one frozen after its training streams."""
    going, frozen = (bench.played(replace(bench.online, warm=bench.warm, online=on)) for on in (True, False))
    gap = difference(going, frozen, _gain)
    return Verdict(
        "frozen against online", gap.interval.low > 0, gap.mean, f"G that learning while serving adds: {gap}"
    )


def label_supply(bench: Bench) -> Verdict:
    """11: with rewards of 5 % of the batches a bandit that starts from nothing is still surely better than chance."""
    runs = {(s, d): bench.played(bench.online, Feedback(supply=s, delay=d)) for s in SUPPLIES for d in DELAYS}
    gap = difference(runs[0.05, 0], bench.played(Random()), _gain)
    text = ", ".join(f"{100 * s:g} % after {d}: {run.mean(_gain):.2f}" for (s, d), run in runs.items())
    return Verdict("label supply", gap.interval.low > 0, gap.mean, f"G at 5 % of the labels above chance; {text}")


def poisoned_labels(bench: Bench) -> Verdict:
    """12: a tenth of the rewards with the wrong sign costs a bandit that learns from them at most .1 of the headroom."""
    runs = {x: bench.played(bench.online, Feedback(flipped=x)).mean(_gain) for x in POISONS}
    lost = runs[0.0] - runs[0.1]
    text = ", ".join(f"{100 * x:g} %: {value:.2f}" for x, value in runs.items())
    return Verdict("poisoned stream", lost <= COST, lost, f"G lost at 10 % flipped rewards; {text}")
