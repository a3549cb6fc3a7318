"""One stream as the shipped policy and the yardsticks lived through it, batch by batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from immunize.adaptation.contest import YARDSTICKS
from immunize.adaptation.gain import regret
from immunize.adaptation.playing import Run, play
from immunize.adaptation.world import World

BESIDE = ("best_fixed", "hindsight", "oracle")


def beside(run: Run, train: World, test: World, seed: int, stream: int) -> dict[str, Any]:
    """`told` of a run on `stream` of the test items, and of the yardsticks on the same stream."""
    others = {name: play(test, YARDSTICKS[name].fit(train, seed), stream) for name in BESIDE}
    return {"stream": stream} | told({"shipped": run, **others}, test)


def told(runs: Mapping[str, Run], world: World) -> dict[str, Any]:
    """For each run and each batch: the regime that reigned, the action, the reward with all costs, and the regret so far.

    An attacker who reacts sends each run a regime of its own, so it stands with each. Rewards are in units of the headroom,
    as `Scale` has them.
    """
    payoffs = world.payoffs
    return {
        "runs": {
            name: {
                "regime": [payoffs.regimes[z] for z in run.regime.tolist()],
                "action": [payoffs.actions[a] for a in run.served.tolist()],
                "reward": np.round(run.earned, 5).tolist(),
                "regret": np.round(regret(run), 5).tolist(),
            }
            for name, run in runs.items()
        }
    }
