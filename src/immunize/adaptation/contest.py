"""Who should be shipped: the best of the contenders as training streams tell it, if those leave anything to be learnt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isfinite
from operator import attrgetter
from typing import Any, Literal

import numpy as np

from immunize.adaptation.comparing import SEEDS, STREAMS, Played, difference, judged, known_mean, tested
from immunize.adaptation.contenders import BestFixed, Hindsight, Oracle, Random
from immunize.adaptation.gain import marks
from immunize.adaptation.policy import Contender
from immunize.adaptation.world import World

YARDSTICKS: dict[str, Contender] = {
    "random": Random(), "best_fixed": BestFixed(), "hindsight": Hindsight(), "oracle": Oracle()
}  # fmt: skip
CHOOSING = range(20_000, 20_005)  # streams of training items, on which nothing is fitted
HEADROOM = 0.1  # registered: where the best fixed action leaves less of the oracle's gain, it is what should serve


def measure(world: World) -> Literal["gain", "earned"]:
    """G where regimes come by themselves and nothing costs, else what was earned, costs and all."""
    rules = world.rules
    free = rules.attacker is None and rules.looking is None and not (rules.switching or rules.latency_price)
    return "gain" if free else "earned"


def contest(
    contenders: Mapping[str, Contender],
    train: World,
    test: World,
    ship: Sequence[str],
    streams: Sequence[int] = STREAMS,
    seeds: Sequence[int] = SEEDS,
) -> dict[str, Any]:
    """Each contender's figures on the test streams, `shipped`, and how far it leads each other one, with intervals.

    headroom: 1 - G of the best fixed action on further streams of the training items; the test has no say. shipped: below
    HEADROOM that action, else whoever earns most on these streams, of `ship` and it.
    """
    by = attrgetter(measure(test))
    field: dict[str, Contender] = {**YARDSTICKS, **contenders}
    first = {name: field[name].fit(train, 0) for name in dict.fromkeys(("best_fixed", *ship))}
    tried = {name: tested(policy, train, CHOOSING) for name, policy in first.items()}
    held = mean([one.gain for one in tried["best_fixed"]])
    headroom = 1 - held if isfinite(held) else 0.0  # no stream on which anyone could gain anything
    worth = {name: mean([by(one) for one in runs]) for name, runs in tried.items()}
    shipped = max(worth, key=lambda name: worth[name]) if headroom >= HEADROOM else "best_fixed"
    played = {
        name: judged(one, train, test, streams, seeds, fitted={0: first[name]} if name in first else {})
        for name, one in field.items()
    }
    leads = {name: difference(played[shipped], other, by) for name, other in played.items() if name != shipped}
    return {
        "shipped": shipped,
        "headroom": _known(headroom),
        "measure": measure(test),
        "steps": (marks(test.stream.length) + 1).tolist(),
        "contenders": {name: figures(one, test) for name, one in played.items()},
        "leads": {
            name: {"mean": _known(lead.mean), "low": _known(lead.interval.low), "high": _known(lead.interval.high)}
            for name, lead in leads.items()
        },
    }


def figures(played: Played, world: World) -> dict[str, Any]:
    """Means over streams and seeds; null for what did not come up, or never reached. curve: regret after `steps` batches."""
    found = {
        "gain": played.mean(lambda s: s.gain),
        "regret": played.mean(lambda s: s.regret),
        "earned": played.mean(lambda s: s.earned),
        "clean_cost": played.mean(lambda s: s.clean_cost),
        "worst": played.worst,
        "correct": 100 * played.mean(lambda s: s.correct),
        "literal": played.mean(lambda s: s.literal),
        "latency": played.mean(lambda s: s.latency[0]),
        "latency_p95": played.mean(lambda s: s.latency[1]),
        "switches": played.mean(lambda s: s.switches),
        "abstained": 100 * played.mean(lambda s: s.abstained),
        "lag": played.lag,
        "never": 100 * played.censored,
    }
    by_regime = dict(zip(world.payoffs.regimes, played.by_regime.tolist()))
    return {name: _known(value) for name, value in found.items()} | {
        "by_regime": {name: _known(value) for name, value in by_regime.items()},
        "curve": [_known(value) for value in played.curve.tolist()],
    }


def mean(values: Sequence[float]) -> float:
    """Of the streams that have one; -inf where none has, so that who is known is shipped before who is not."""
    found = float(known_mean(np.array(values)[:, None])[0])
    return found if isfinite(found) else -inf


def _known(value: float) -> float | None:
    return round(float(value), 5) if isfinite(value) else None
