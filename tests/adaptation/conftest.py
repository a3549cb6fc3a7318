"""Invented payoffs, cut into items to fit on and items to be judged on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from immunize.adaptation.payoffs import Payoffs
from immunize.adaptation.rules import versions
from immunize.adaptation.stream import Stream
from immunize.adaptation.synthetic import Synthetic
from immunize.adaptation.world import World

Worlds = Callable[..., tuple[World, World]]


@pytest.fixture(scope="session")
def invented() -> Payoffs:
    """Eight regimes, seven actions, features .4 apart."""
    return Synthetic().make()


@pytest.fixture(scope="session")
def worlds(invented: Payoffs) -> Worlds:
    """worlds("A", dwell=50.0) -> (train, test): halves of the items, the test fitted to nothing."""

    def make(version: str = "A", payoffs: Payoffs = invented, **stream: object) -> tuple[World, World]:
        half = len(payoffs) // 2
        train, test = payoffs.take(np.arange(half)), payoffs.take(np.arange(half, len(payoffs)))
        world = World.of(train, Stream(**stream), versions(train)[version], Synthetic().look)  # type: ignore[arg-type]
        return world, world.on(test)

    return make
