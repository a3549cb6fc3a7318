"""Attacks on the tiny world that the rooms of the evaluation share."""

from __future__ import annotations

import pytest

from immunize.attacks import PGD, SGA, BertAttack
from immunize.data.loader import Pairs
from immunize.threats import Ball, Edits


@pytest.fixture
def pgd() -> PGD:
    return PGD(Ball("linf", 8 / 255), steps=4)


@pytest.fixture
def typing() -> BertAttack:
    return BertAttack(Edits(words=2), typos=6, positions=3)


@pytest.fixture
def joint(pgd: PGD, typing: BertAttack) -> SGA:
    return SGA(typing, pgd)


@pytest.fixture
def some(pairs: Pairs) -> Pairs:
    """Sixteen images that `trained` knows."""
    return pairs.head(16)
