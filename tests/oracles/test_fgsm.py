"""FGSM beside foolbox, pixel for pixel."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from torch import Generator, Tensor, nn

from immunize.attacks.image import FGSM
from immunize.batch import Batch
from immunize.models import Clip
from immunize.models.encode import encode_images
from immunize.objectives import Bank, cross_entropy
from immunize.threats import Ball

Rate = Callable[[Tensor], float]


def rng() -> Generator:
    return Generator().manual_seed(0)


def foolbox_fgsm(classifier: nn.Module, batch: Batch, ball: Ball) -> Tensor:
    import foolbox

    attacks = foolbox.attacks
    attack = {"linf": attacks.LinfFastGradientAttack, "l2": attacks.L2FastGradientAttack}[ball.norm]
    model = foolbox.PyTorchModel(classifier, bounds=(0, 1), device="cpu")
    return attack()(model, batch.images, batch.labels, epsilons=ball.eps)[1]


@pytest.mark.parametrize("ball", [Ball("linf", 0.5 / 255), Ball("l2", 0.05)], ids=["linf", "l2"])
def test_foolboxs_step(ball: Ball, trained: Clip, classified: Batch, classifier: nn.Module, rate: Rate) -> None:
    theirs = foolbox_fgsm(classifier, classified, ball)
    ours = FGSM(ball)(trained, classified, rng()).images
    assert 0.3 < rate(theirs) < 0.8 and rate(ours) >= rate(theirs) - 0.01
    stepped = (ours != classified.images).flatten(1).any(dim=1)
    assert stepped.float().mean() > 0.9
    apart = (ours - theirs)[stepped].abs() > 2.5e-5  # a gradient next to 0 has the sign that rounding gives it
    assert apart.float().mean() < 1e-3
    assert (ball.distance(ours, classified.images) <= ball.eps + 1e-6).all()


def test_where_it_did_not_step_the_step_was_a_loss(trained: Clip, classified: Batch, classifier: nn.Module) -> None:
    """From the clean image, in a ball so large that the slope means nothing at its border."""
    assert classified.labels is not None
    text = classifier.get_buffer("text")
    own = nn.functional.one_hot(classified.labels, len(text)).bool()
    bank = Bank(text, own, trained.logit_scale.detach())
    ball = Ball("l2", 2.0)
    after = FGSM(ball)(trained, classified, rng())
    assert after.outcome is not None
    theirs = foolbox_fgsm(classifier, classified, ball)
    values = cross_entropy(encode_images(trained, theirs), bank)
    fell = classifier(theirs).argmax(dim=1) != classified.labels
    same = after.outcome.success == fell
    assert (after.outcome.value >= values - 1e-3)[same].all() and (after.outcome.success >= fell).all()


@pytest.mark.parametrize("ball", [Ball("linf", 0.25 / 255), Ball("l2", 0.025)], ids=["linf", "l2"])
def test_a_larger_ball_helps_the_defender_by_few_images(ball: Ball, trained: Clip, classified: Batch) -> None:
    """One step may jump over what fools: up to one image in ten comes back, where the ball is still small."""
    rates = []
    for times in (0.0, 0.5, 1.0, 2.0, 3.0):
        outcome = FGSM(Ball(ball.norm, times * ball.eps))(trained, classified, rng()).outcome
        assert outcome is not None
        rates.append(outcome.success.float().mean().item())
    assert rates[0] == 0 and rates[-1] > 0.4
    assert all(more >= less - 0.1 for less, more in pairwise(rates))


def test_the_gradients_of_the_parameters_stay_as_they_were(trained: Clip, classified: Batch) -> None:
    """foolbox adds its own to them (attacks.md 5.14)."""
    from foolbox import PyTorchModel
    from foolbox.attacks import LinfFastGradientAttack

    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10)).eval()
    LinfFastGradientAttack()(
        PyTorchModel(net, (0, 1), device="cpu"), classified.images, classified.labels, epsilons=0.1
    )
    assert any(p.grad is not None for p in net.parameters())
    before = [p.grad for p in trained.parameters()]
    FGSM(Ball("linf", 0.1))(trained, classified, rng())
    assert all(p.grad is old for p, old in zip(trained.parameters(), before, strict=True))
