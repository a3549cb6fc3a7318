"""The ensemble beside pyautoattack's, member for member the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Generator, Tensor, nn

from immunize.attacks.image import AutoAttack
from immunize.batch import Batch
from immunize.models import Clip
from immunize.threats import Ball

Rate = Callable[[Tensor], float]


@pytest.mark.parametrize("ball", [Ball("linf", 0.5 / 255), Ball("l2", 0.05)], ids=["linf", "l2"])
def test_as_successful_as_the_original(
    ball: Ball, trained: Clip, classified: Batch, classifier: nn.Module, rate: Rate
) -> None:
    """Five steps, two targets and thirty queries of each instead of the standard hundred, nine and 5,000."""
    from pyautoattack import AutoAttack as Original

    norm = {"linf": "Linf", "l2": "L2"}[ball.norm]
    original = Original(classifier, norm=norm, eps=ball.eps, seed=0, device="cpu")
    original.apgd.n_iter = original.apgd_targeted.n_iter = original.fab.n_iter = 5
    original.apgd_targeted.n_target_classes = original.fab.n_target_classes = 2
    original.square.n_queries = 30
    theirs, _ = original.run_standard_evaluation(classified.images, classified.labels)
    after = AutoAttack(ball, steps=5, targets=2, queries=30)(trained, classified, Generator().manual_seed(0))
    assert 0.3 < rate(theirs) < 0.8 and rate(after.images) >= rate(theirs) - 0.01 - 1 / len(classified)
    assert after.outcome is not None and after.outcome.success.float().mean().item() == pytest.approx(
        rate(after.images)
    )
    assert (ball.distance(after.images, classified.images) <= ball.eps + 1e-6).all()
