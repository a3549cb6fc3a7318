"""DeepFool against closed forms on a linear model and against the algorithm written out image by image."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any, Literal

import pytest
import torch
from torch import Generator, Tensor

from immunize.attacks.image import DeepFool
from immunize.attacks.victim import Victim, bank_of
from immunize.batch import Batch
from immunize.models import Clip
from immunize.models.encode import encode_captions, encode_images
from immunize.objectives import margin
from immunize.threats import Ball

NORMS = pytest.mark.parametrize("norm", ["l2", "linf"])
Norm = Literal["l2", "linf"]


def rng() -> Generator:
    return Generator().manual_seed(0)


def classified(model: Any, batch: Batch, texts: tuple[str, ...]) -> Batch:
    """The batch's images before `texts`, labeled with what the model says of them."""
    logits = encode_images(model, batch.images) @ encode_captions(model, texts).T
    nothing = torch.empty(0, dtype=torch.int64)
    return replace(batch, captions=(), caption_ids=(), owner=nothing, gallery=texts, labels=logits.argmax(dim=1))


def by_hand(model: Any, batch: Batch, norm: Norm, overshoot: float = 0.02) -> Tensor:
    """Algorithm 2 of the paper, one image and all texts, overshoot of the whole perturbation (attacks.md 5.5)."""
    text, found = model.logit_scale.detach() * encode_captions(model, batch.gallery), []
    assert batch.labels is not None
    for clean, own in zip(batch.images, batch.labels.tolist()):
        r = torch.zeros_like(clean)
        for _ in range(50):
            x = (clean + (1 + overshoot) * r).clamp(0, 1).requires_grad_()
            logits = (model.encode_image(x[None]) @ text.T)[0]
            if logits.argmax() != own:
                break
            ways = []
            for k in set(range(len(logits))) - {own}:
                (g,) = torch.autograd.grad(logits[k] - logits[own], x, retain_graph=True)
                g = g * torch.where(g > 0, x < 1, x > 0)
                gap = (logits[own] - logits[k]).detach() + 1e-4
                far = gap / (g.norm() if norm == "l2" else g.abs().sum())
                ways.append((float(far), far * (g / g.norm() if norm == "l2" else g.sign())))
            r = (clean + r + min(ways, key=lambda way: way[0])[1]).clamp(0, 1) - clean
        found.append(x.detach())
    return torch.stack(found)


@NORMS
def test_one_step_is_exact_on_a_linear_model(linear: Any, squares: Batch, norm: Norm) -> None:
    """The distance to the nearest of the planes: gap over the dual norm of the difference of the weights."""
    some = classified(linear, squares, ("x", "xx", "xxx", "xxxx", "xxxxx"))
    after = DeepFool(Ball(norm, inf))(linear, some, rng())
    text = encode_captions(linear, some.gallery)
    logits, planes = encode_images(linear, some.images) @ text.T, text @ linear.weight.detach()
    assert some.labels is not None and after.outcome is not None
    gaps = logits.amax(dim=1, keepdim=True) - logits
    slopes = torch.linalg.vector_norm(planes[some.labels][:, None] - planes, ord=2 if norm == "l2" else 1, dim=2)
    expected = 1.02 * (gaps / slopes).masked_fill(gaps == 0, inf).amin(dim=1)
    assert torch.allclose(Ball(norm, inf).distance(after.images, some.images), expected, rtol=0.01)
    assert after.outcome.success.all() and after.outcome.forwards.tolist() == [2] * 4


@NORMS
def test_against_the_algorithm_by_hand(trained: Clip, batch: Batch, norm: Norm) -> None:
    """And the texts that are passed over would not have won."""
    some = classified(trained, batch, batch.captions)
    expected = by_hand(trained, some, norm)
    for slack in (inf, 3.0):
        attack = DeepFool(Ball(norm, inf), candidates=11, slack=slack)
        found = attack(trained, some, rng()).images
        distance, bar = (attack.threat.distance(x, some.images) for x in (found, expected))
        assert torch.allclose(distance, bar, rtol=1e-4, atol=1e-5)
        assert torch.allclose(found, expected, atol=5e-4)  # after three steps beside the kinks of a ReLU


def test_passing_texts_over_saves_backward_passes_and_no_distance(trained: Clip, batch: Batch) -> None:
    some = classified(trained, batch, batch.captions)
    full, lazy = (DeepFool(slack=slack)(trained, some, rng()) for slack in (inf, 2.0))
    assert full.outcome is not None and lazy.outcome is not None
    assert lazy.outcome.backwards.sum() < 0.8 * full.outcome.backwards.sum()
    ours, bar = (Ball("l2", inf).distance(x.images, batch.images).mean() for x in (lazy, full))
    assert ours <= 1.02 * bar and lazy.outcome.success.all()


def test_fewer_candidates_are_those_nearest_to_the_embedding(trained: Clip, batch: Batch) -> None:
    some = classified(trained, batch, batch.captions)
    one = DeepFool(candidates=1)(trained, some, rng())
    assert one.outcome is not None and one.outcome.success.all()
    assert (one.outcome.backwards <= one.outcome.forwards).all()


@pytest.mark.parametrize("count", [2, 3, 20])
def test_any_number_of_texts(trained: Clip, batch: Batch, count: int) -> None:
    """Two texts, and more than candidates (attacks.md 5.6, 5.9)."""
    texts = tuple(f"{caption} {number}" for number in range(2) for caption in batch.captions)[:count]
    after = DeepFool()(trained, classified(trained, batch, texts), rng())
    assert after.outcome is not None and after.outcome.success.all()


def test_what_is_fooled_already_is_left_alone(trained: Clip, batch: Batch) -> None:
    some = classified(trained, batch, batch.captions)
    assert some.labels is not None
    wrong = replace(some, labels=torch.cat([(some.labels[:2] + 1) % 12, some.labels[2:]]))
    after = DeepFool()(trained, wrong, rng())
    assert after.outcome is not None and after.outcome.success.all()
    assert torch.equal(after.images[:2], batch.images[:2]) and after.outcome.forwards[:2].tolist() == [1, 1]


def test_in_a_finite_ball_the_nearest_point_is_projected_and_judged_again(trained: Clip, batch: Batch) -> None:
    nearest = DeepFool()(trained, batch, rng())
    distance = Ball("l2", inf).distance(nearest.images, batch.images)
    ball = Ball("l2", float(distance.median()) + 1e-4)
    after = DeepFool(ball)(trained, batch, rng())
    inside = distance <= ball.eps
    assert after.outcome is not None and inside.any() and not inside.all()
    assert torch.equal(after.images[inside], nearest.images[inside]) and after.outcome.success[inside].all()
    assert torch.equal(after.images[~inside], ball.project(nearest.images, batch.images)[~inside])
    values = margin(encode_images(trained, after.images), bank_of(trained, batch))
    assert torch.allclose(after.outcome.value, values, atol=1e-4)


def test_a_copy_of_an_own_text_is_no_way_out(trained: Clip, batch: Batch) -> None:
    """Its plane is everywhere at distance 0, and crossing it is impossible."""
    again = replace(batch, gallery=batch.captions)
    with Victim.of(trained, again) as victim:
        best = DeepFool(candidates=3, steps=5).search(victim)
    assert best.x.isfinite().all() and best.value.isfinite().all()


def test_the_norm_is_checked() -> None:
    with pytest.raises(ValueError, match="threat"):
        DeepFool(Ball("l0", 5.0))
