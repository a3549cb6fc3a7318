"""APGD-CE, APGD-DLR and APGD-T beside pyautoattack and adv-lib; what those libraries break, and ours does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from math import inf
from typing import Literal

import pytest
import torch
from torch import Generator, Tensor, nn

from immunize.attacks.image import APGD, AutoAttack
from immunize.batch import Batch
from immunize.models import Clip
from immunize.threats import Ball

Rate = Callable[[Tensor], float]
Mean = Callable[[Callable[[int], Tensor]], float]
Loss = Literal["cross_entropy", "dlr"]
BALLS = pytest.mark.parametrize("ball", [Ball("linf", 0.5 / 255), Ball("l2", 0.05)], ids=["linf", "l2"])
SHORT = {"cross_entropy": "ce", "dlr": "dlr"}


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def pyautoattack_apgd(classifier: nn.Module, batch: Batch, ball: Ball, loss: Loss) -> Tensor:
    from pyautoattack.autopgd_base import APGDAttack

    norm = {"linf": "Linf", "l2": "L2"}[ball.norm]
    attack = APGDAttack(classifier, n_iter=20, norm=norm, eps=ball.eps, loss=SHORT[loss], device="cpu")
    return attack.perturb(batch.images, batch.labels)


def adv_lib_apgd(classifier: nn.Module, batch: Batch, ball: Ball, loss: Loss) -> Tensor:
    from adv_lib.attacks import apgd

    norm = inf if ball.norm == "linf" else 2
    return apgd(classifier, batch.images, batch.labels, ball.eps, norm, n_iter=20, loss_function=SHORT[loss])


def pyautoattack_targeted(classifier: nn.Module, batch: Batch, ball: Ball) -> Tensor:
    from pyautoattack.autopgd_base import APGDAttack_targeted

    norm = {"linf": "Linf", "l2": "L2"}[ball.norm]
    attack = APGDAttack_targeted(classifier, n_iter=6, norm=norm, eps=ball.eps, n_target_classes=4, device="cpu")
    return attack.perturb(batch.images, batch.labels)


def adv_lib_targeted(classifier: nn.Module, batch: Batch, ball: Ball) -> Tensor:
    from adv_lib.attacks import apgd_targeted

    norm = inf if ball.norm == "linf" else 2
    return apgd_targeted(classifier, batch.images, batch.labels, ball.eps, norm, n_iter=6, num_targets=4)


@BALLS
@pytest.mark.parametrize("loss", ["cross_entropy", "dlr"])
def test_as_successful_as_the_best_peer(
    ball: Ball,
    loss: Loss,
    trained: Clip,
    classified: Batch,
    classifier: nn.Module,
    rate: Rate,
    over_seeds: Mean,
) -> None:
    peers, attack = (pyautoattack_apgd, adv_lib_apgd), APGD(ball, steps=20, objective=loss)
    best = max(over_seeds(lambda _, peer=peer: peer(classifier, classified, ball, loss)) for peer in peers)
    ours = over_seeds(lambda seed: attack(trained, classified, rng(seed)).images)
    assert 0.3 < best < 0.8 and ours >= best - 0.01 - 1 / len(classified)
    after = attack(trained, classified, rng())
    assert (ball.distance(after.images, classified.images) <= ball.eps + 1e-6).all()
    assert after.outcome is not None and after.outcome.success.float().mean().item() == pytest.approx(
        rate(after.images)
    )
    assert after.outcome.forwards.unique().tolist() == [21] and after.outcome.backwards.unique().tolist() == [20]


@pytest.mark.slow
@pytest.mark.parametrize("trained", [32], indirect=True, ids=["stem of 32"])
@pytest.mark.parametrize("ball", [Ball("linf", 2 / 255), Ball("l2", 0.2)], ids=["linf", "l2"])
def test_with_targets_as_successful_as_the_best_peer(
    ball: Ball, trained: Clip, classified: Batch, classifier: nn.Module, rate: Rate, over_seeds: Mean
) -> None:
    peers = (pyautoattack_targeted, adv_lib_targeted)
    attack = APGD(ball, steps=6, objective="dlr", targets=4, early_stop=True)
    best = max(over_seeds(lambda _, peer=peer: peer(classifier, classified, ball)) for peer in peers)
    ours = over_seeds(lambda seed: attack(trained, classified, rng(seed)).images)
    assert 0.3 < best < 0.8 and ours >= best - 0.01 - 1 / len(classified)
    after = attack(trained, classified, rng())
    assert (ball.distance(after.images, classified.images) <= ball.eps + 1e-6).all()
    assert after.outcome is not None
    fell = after.outcome.success
    assert (after.outcome.forwards[~fell] == 1 + 4 * 7).all() and (after.outcome.forwards[fell] < 1 + 4 * 7).any()


def test_what_failed_is_handed_on_at_its_strongest(
    trained: Clip, classified: Batch, classifier: nn.Module, rate: Rate
) -> None:
    """pyautoattack and adv-lib hand back the clean image (attacks.md 5.3)."""
    ball = Ball("linf", 0.25 / 255)
    theirs, ours = adv_lib_apgd(classifier, classified, ball, "cross_entropy"), APGD(ball, steps=20)
    after = ours(trained, classified, rng())
    assert after.outcome is not None

    def unmoved(images: Tensor) -> float:
        return (images == classified.images).flatten(1).all(dim=1).float().mean().item()

    assert unmoved(theirs) > 0.1 and unmoved(after.images) == 0


def test_the_random_state_of_torch_is_left_alone(trained: Clip, classified: Batch, classifier: nn.Module) -> None:
    """pyautoattack seeds it on every call, so a training loop around it repeats its augmentations (attacks.md 5.13)."""
    torch.manual_seed(123)
    before = torch.get_rng_state()
    AutoAttack(Ball("linf", 0.01), steps=2, targets=2, queries=5)(trained, classified, rng())
    assert torch.equal(torch.get_rng_state(), before)
    pyautoattack_apgd(classifier, classified, Ball("linf", 0.01), "cross_entropy")
    assert not torch.equal(torch.get_rng_state(), before)


def test_two_classes_are_an_answer_and_not_an_index_error(
    trained: Clip, classified: Batch, classifier: nn.Module
) -> None:
    """DLR needs three texts; pyautoattack falls over its own sort (attacks.md 5.9)."""
    assert classified.labels is not None
    two = replace(classified, gallery=classified.gallery[:2], labels=classified.labels % 2)
    few = nn.Sequential(classifier, nn.Linear(10, 2))
    with pytest.raises(IndexError):
        pyautoattack_apgd(few, two, Ball("linf", 0.01), "dlr")
    with pytest.raises(ValueError, match="dlr needs 3 texts to rank and has 2; use cross_entropy or margin"):
        APGD(Ball("linf", 0.01), steps=2, objective="dlr")(trained, two, rng())
    after = AutoAttack(Ball("linf", 0.05), steps=10, queries=20)(trained, two, rng())
    assert after.outcome is not None and after.outcome.success.float().mean() > 0.5


@BALLS
def test_more_restarts_fool_a_superset_and_more_steps_no_fewer(ball: Ball, trained: Clip, classified: Batch) -> None:
    """The checkpoints move with the number of steps, so there it is a rate: one image of forty may come back."""

    def success(**settings: int) -> Tensor:
        outcome = APGD(ball, **{"steps": 3, **settings})(trained, classified, rng()).outcome  # type: ignore[arg-type]
        assert outcome is not None
        return outcome.success

    one, two, four = (success(restarts=n) for n in (1, 2, 4))
    assert (two >= one).all() and (four >= two).all()
    rates = [success(steps=n).float().mean().item() for n in (1, 4, 20)]
    assert all(more >= less - 0.03 for less, more in pairwise(rates))
