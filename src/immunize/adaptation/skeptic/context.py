"""Is there anything to choose, and does the candidate choose by what it sees?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from immunize.adaptation.comparing import difference, paired
from immunize.adaptation.contenders import BestFixed, Hindsight, Oracle, Random
from immunize.adaptation.gain import Summary
from immunize.adaptation.skeptic.bench import Bench, Verdict

HEADROOM, ROOM, SAME, CHANCE = 0.1, 0.1, 0.05, 0.2


def _gain(summary: Summary) -> float:
    return summary.gain


def headroom(bench: Bench) -> Verdict:
    """1: (R_oracle - R_best fixed) / (R_oracle - R_random) >= .1; below that there is nothing to adapt to."""
    share = bench.played(Oracle()).mean(_gain) - bench.played(BestFixed()).mean(_gain)
    text = "share of the headroom that the best fixed action leaves"
    return Verdict("headroom", share >= HEADROOM, share, text)


def shuffled_context(bench: Bench) -> Verdict:
    """2: with the batches seen in another order the gain falls by >= .1, or patterns were not what it went by."""
    before = bench.played(bench.candidate)
    after = bench.control(bench.train, replace(bench.test, shuffled=True))
    drop = difference(before, after, _gain)
    text = f"drop of G, from {before.mean(_gain):.2f} to {after.mean(_gain):.2f}: {drop}"
    return Verdict("shuffled context", drop.interval.low > 0 and drop.mean >= ROOM, drop.mean, text)


def permuted_reward(bench: Bench) -> Verdict:
    """6: trained on payoffs dealt to the actions at random, it is no better than some fixed action: G < .2 or the best's."""
    dealt = replace(bench.train, payoffs=bench.train.payoffs.permuted(np.random.default_rng(0)))
    learnt = bench.control(dealt, bench.test).mean(_gain)
    limit = max(CHANCE, bench.played(BestFixed()).mean(_gain))
    return Verdict("permuted reward", learnt <= limit, learnt, f"G of the candidate so trained, limit {limit:.2f}")


def single_regime(bench: Bench) -> Verdict:
    """7: where one regime reigns always it equals the best fixed action, to .05 of the headroom, in every regime."""
    lost = {}
    for regime in _regimes(bench):
        world = bench.only(regime)[1]
        best, own = bench.control(world, world, Hindsight()), bench.control(bench.train, world)
        lost[regime] = best.mean(_gain) - own.mean(_gain)
    lost = {name: value for name, value in lost.items() if np.isfinite(value)}
    worst = max(lost, key=lambda name: lost[name])
    return Verdict(
        "single regime", lost[worst] <= SAME, lost[worst], f"G lost to the best action, most under {worst!r}"
    )


def held_out_regime(bench: Bench) -> Verdict:
    """8: under regimes never trained on it earns more than the action that was best under the others."""
    names, rows = [n for n in _regimes(bench) if n != bench.test.stream.clean], []
    for regime in names[: bench.held]:
        train = bench.only(*(name for name in _regimes(bench) if name != regime))[0]
        place = bench.test.payoffs.regimes.index(regime)
        test = bench.only(bench.test.stream.clean, regime)[1]
        own, fixed = bench.control(train, test), bench.control(train, test, BestFixed())
        rows.append(own.of(lambda s, z=place: s.by_regime[z]) - fixed.of(lambda s, z=place: s.by_regime[z]))  # type: ignore[misc]
    found = np.concatenate(rows) if rows else np.zeros(0)
    found = found[np.isfinite(found)]
    if not len(found):
        return Verdict("held-out regime", None, float("nan"), "no stream had a regime that could be held out")
    gap = paired(found)
    return Verdict("held-out regime", gap.interval.low > 0, gap.mean, f"G there above the best fixed action's: {gap}")


def chance(bench: Bench) -> float:
    """G of random actions: 0 but for luck."""
    return bench.played(Random()).mean(_gain)


def _regimes(bench: Bench) -> list[str]:
    return [bench.test.payoffs.regimes[z] for z in bench.test.reigning]
