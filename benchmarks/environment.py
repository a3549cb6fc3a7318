"""Steps a second of the adaptation's environment, resets counted in and left out: python -m benchmarks.environment."""

from __future__ import annotations

from time import process_time

import numpy as np

from immunize.adaptation.environment import Defending
from immunize.adaptation.rules import versions
from immunize.adaptation.stream import Stream
from immunize.adaptation.synthetic import Synthetic
from immunize.adaptation.world import World

ROUNDS = 7


def measured(environment: Defending, seed: int) -> tuple[float, float]:
    """Seconds of a reset and of a whole episode of random actions, each counted in the time of this process alone."""
    rng = np.random.default_rng(seed)
    actions = rng.integers(environment.world.choices, size=environment.world.stream.length).tolist()
    start = process_time()
    environment.reset(seed=seed)
    middle = process_time()
    for action in actions:
        environment.step(action)
    return middle - start, process_time() - middle


def main() -> None:
    """The best of some rounds: what else runs on the machine only ever slows it down."""
    invented = Synthetic()
    payoffs = invented.make()
    print("| version | steps/s | with resets |\n|---|---:|---:|")
    for version, rules in versions(payoffs).items():
        environment = Defending(World.of(payoffs, Stream(), rules, invented.look))
        times = [measured(environment, seed) for seed in range(ROUNDS)]
        reset, steps = (min(column) for column in zip(*times))
        length = environment.length
        print(f"| {version} | {length / steps:,.0f} | {length / (steps + reset):,.0f} |")


if __name__ == "__main__":
    main()
