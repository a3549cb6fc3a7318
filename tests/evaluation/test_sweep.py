"""The curve: it starts at clean recall, falls with the radius, and is the attack's own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from immunize.attacks import PGD
from immunize.config import parse
from immunize.data.loader import Pairs
from immunize.evaluation.blocks import here
from immunize.evaluation.suite import changed, score
from immunize.evaluation.sweep import Curve, sweep
from immunize.metrics.retrieval import recall
from immunize.models import Clip
from immunize.threats import Ball


def test_from_clean_to_the_floor(trained: Clip, pairs: Pairs, pgd: PGD) -> None:
    curve = Curve(pgd, (0.0, 4 / 255, 32 / 255), images=20)
    found = sweep(trained, curve, pairs, seed=0, block=7)
    clean, _ = score(trained, pairs.head(20))
    assert found.eps == [0.0, 4 / 255, 32 / 255] and found.attack == "pgd"
    assert found.tr_r1[0] == pytest.approx(recall(clean.image, 1), abs=0.01)
    assert found.ir_r1[0] == pytest.approx(recall(clean.caption, 1), abs=0.01)
    assert found.tr_r1 == sorted(found.tr_r1, reverse=True) and found.tr_r1[2] < found.tr_r1[0] - 20


def test_each_point_is_the_attack_at_that_radius(trained: Clip, some: Pairs, pgd: PGD) -> None:
    found = sweep(trained, Curve(pgd, (2 / 255,), images=10), some, seed=5, block=10)
    narrow = replace(pgd, threat=Ball("linf", 2 / 255))
    there, _ = score(
        trained, changed(some.head(10), here(trained, some.head(10), {"": narrow}, 10, seed=5, block=10)[""])
    )
    assert (found.tr_r1, found.ir_r1) == ([round(recall(there.image, 1), 2)], [round(recall(there.caption, 1), 2)])


def test_radii_may_be_written_as_fractions() -> None:
    curve = parse({"attack": {"threat": {"norm": "linf", "eps": 0}}, "eps": [0, "1/255"]}, Curve, "here")
    assert curve.eps == (0.0, 1 / 255) and curve.images == 100
