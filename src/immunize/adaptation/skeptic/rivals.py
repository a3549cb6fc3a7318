"""Does the candidate beat what is simpler?"""

from __future__ import annotations

from dataclasses import replace
from math import nan

from immunize.adaptation.comparing import difference
from immunize.adaptation.contenders import Fixed, Perceptron, Ppo, Ridge, Threshold, maximin
from immunize.adaptation.policy import Contender
from immunize.adaptation.skeptic.bench import Bench, Verdict

SLACK = 0.05


def simpler_rivals(bench: Bench) -> Verdict:
    """3: it beats the threshold rule and both supervised learners, each interval above 0; if not, it is a learnt switch."""
    own = bench.played(bench.candidate)
    rivals: dict[str, Contender] = {"threshold rule": Threshold(), "ridge": Ridge(), "perceptron": Perceptron()}
    gaps = {name: difference(own, bench.played(one), bench.measure) for name, one in rivals.items()}
    least = min(gaps.values(), key=lambda gap: gap.interval.low)
    text = ", ".join(f"{name} {gap}" for name, gap in gaps.items())
    return Verdict("rule and supervised", least.interval.low > 0, least.mean, f"above {text}")


def discounting(bench: Bench) -> Verdict:
    """4: looking ahead (gamma > 0) earns more than not (gamma 0), or it is a bandit's problem and not reinforcement's."""
    ppo = bench.ppo or (bench.candidate if isinstance(bench.candidate, Ppo) else None)
    if ppo is None:
        return Verdict("gamma 0 against > 0", None, nan, "ask for PPO to train it twice")
    ahead = bench.played(replace(ppo, gamma=ppo.gamma or 0.95))
    gap = difference(ahead, bench.played(replace(ppo, gamma=0.0)), bench.measure)
    return Verdict("gamma 0 against > 0", gap.interval.low > 0, gap.mean, f"what gamma {ppo.gamma or 0.95} adds: {gap}")


def ensemble(bench: Bench) -> Verdict:
    """9: it earns more than the action that asks all defenses at once, at that one's cost."""
    if bench.ensemble is None:
        return Verdict("ensemble of all", None, nan, "the payoffs name no action that is the ensemble of the others")
    gap = difference(bench.played(bench.candidate), bench.played(Fixed(bench.ensemble)), bench.measure)
    return Verdict("ensemble of all", gap.interval.low > 0, gap.mean, f"above {bench.ensemble!r}: {gap}")


def worst_regime(bench: Bench) -> Verdict:
    """10: its mean payoff in its worst regime is at least the value of the best static mixture, or adapting helps attackers.

    The value is of the payoffs played with, full contamination; .05 of the headroom are allowed for chance.
    """
    value = maximin(bench.test.table[bench.test.reigning])[1]
    gap = bench.played(bench.candidate).worst - value
    return Verdict(
        "maximin", gap >= -SLACK, gap, f"worst regime's payoff above the static mixture's value {value:+.3f}"
    )
