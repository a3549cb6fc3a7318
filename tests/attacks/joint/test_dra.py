"""DRA and SA-AET: the triangle against SGA's step and against a loop by hand, the guide, the subspace."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from immunize.attacks import DRA, PGD, SAAET, BertAttack
from immunize.attacks.image.pgd import Point
from immunize.attacks.joint.dra import blend
from immunize.attacks.joint.sa_aet import subspace
from immunize.attacks.joint.triangle import Triangle
from immunize.attacks.victim import Victim
from immunize.batch import Batch, Embedding
from immunize.models import Clip
from immunize.models.encode import encode_captions, encode_images
from immunize.threats import Ball, Edits

IMAGE = PGD(Ball("linf", 8 / 255), steps=3, scales=(0.5,))
TEXT = BertAttack(Edits(words=2), typos=4)
CORNER = torch.tensor([1.0, 0.0, 0.0])


def test_one_sample_at_the_present_point_is_the_step_of_sga(
    trained: Clip, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Triangle, "_weights", lambda self, victim, k, rows: CORNER.expand(len(rows), 1, 3))
    with Victim.of(trained, batch, "away") as victim:
        plain = IMAGE.search(victim, 7)
        rule = Triangle(IMAGE, victim, 0, samples=1)
        assert torch.equal(IMAGE.search(victim, 7, rule=rule).x, plain.x)


@pytest.mark.parametrize("ordered", [False, True])
def test_weights_are_on_the_simplex_and_follow_the_image(trained: Clip, batch: Batch, ordered: bool) -> None:
    with Victim.of(trained, batch, "away") as victim:
        triangle = Triangle(IMAGE, victim, 3, samples=400, ordered=ordered)
        weights = triangle._weights(victim, 1, victim.all)
        assert torch.equal(triangle._weights(victim, 1, torch.tensor([4])), weights[[4]])
        assert not torch.equal(triangle._weights(victim, 2, victim.all), weights)
    assert torch.allclose(weights.sum(dim=2), torch.ones(6, 400)) and (weights >= 0).all()
    assert (weights.diff(dim=2) >= 0).all() == ordered
    # uniform on the simplex: a third each; the means of its order statistics are 1/9, 5/18 and 11/18
    expected = torch.tensor([1 / 9, 5 / 18, 11 / 18] if ordered else [1 / 3] * 3)
    assert torch.allclose(weights.mean(dim=(0, 1)), expected, atol=0.02)


def test_the_best_point_by_hand(trained: Clip, batch: Batch) -> None:
    """Each sample alone: gradient there, one projected step of x_k along it, the highest value wins (methods.md 4.3)."""
    with Victim.of(trained, batch, "away") as victim:
        triangle = Triangle(IMAGE, victim, 5, samples=4)
        noise = torch.rand(batch.images.shape, generator=Generator().manual_seed(1))
        triangle.last = IMAGE.threat.project(noise, victim.clean)
        x = IMAGE.threat.project(1 - noise, victim.clean)
        found = triangle._best(victim, Point(1, x, torch.zeros(6), victim.all, Generator()))
        weights = triangle._weights(victim, 1, victim.all)
        for i in range(6):
            row, points, values = torch.tensor([i]), [], []
            for a, b, c in weights[i].tolist():
                point = (a * x[i] + b * triangle.last[i] + c * victim.clean[i])[None].requires_grad_()
                gradient = torch.autograd.grad(victim.judge(point, row).value.sum(), point)[0]
                moved = x[[i]] + 0.25 * IMAGE.threat.eps * gradient.sign()
                points.append(point[0].detach())
                values.append(float(victim.query(IMAGE.threat.project(moved, victim.clean[[i]]), row).value))
            best = max(range(4), key=values.__getitem__)
            assert torch.allclose(found[i], points[best], atol=1e-6)


def test_the_second_text_attack_looks_at_three_images(
    trained: Clip, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss being linear in the guide, .6, .2, .2 of three losses are one loss."""
    seen: list[tuple[tuple[str, ...], Any]] = []
    edit = BertAttack.edit

    def record(self: BertAttack, model: Any, batch: Batch, guide: Any, rng: Generator) -> Batch:
        seen.append((batch.captions, guide))
        return edit(self, model, batch, guide, rng)

    monkeypatch.setattr(BertAttack, "edit", record)
    after = DRA(TEXT, IMAGE, samples=2, guide=(0.5, 0.5, 0.0))(trained, batch, Generator().manual_seed(0))
    assert len(seen) == 2 and seen[0][1] is None and seen[1][0] == batch.captions
    expected = (encode_images(trained, batch.images) + encode_images(trained, after.images)) / 2
    assert torch.allclose(seen[1][1], expected, atol=1e-5)
    texts = encode_captions(trained, after.captions)
    losses = [-(encode_images(trained, x)[batch.owner] * texts).sum(dim=1) for x in (batch.images, after.images)]
    assert torch.allclose(-(seen[1][1][batch.owner] * texts).sum(dim=1), sum(losses) / 2, atol=1e-5)


def test_a_blend_is_the_weighted_sum_and_is_paid_for(trained: Clip, batch: Batch) -> None:
    with Victim.of(trained, batch, "away") as victim:
        images = torch.stack([victim.clean, 1 - victim.clean])
        guide = blend(victim, images, (0.25, 0.75))
        assert victim.forwards.tolist() == [2] * 6
    parts = [encode_images(trained, x) for x in images]
    assert torch.allclose(guide, 0.25 * parts[0] + 0.75 * parts[1], atol=1e-6)


def captions_around(direction: Tensor, spread: Tensor) -> Embedding:
    return torch.nn.functional.normalize(direction + 0.3 * spread, dim=1)


def test_the_subspace_is_what_captions_do_not_share() -> None:
    gen = Generator().manual_seed(0)
    plane = torch.randn(40, 3, generator=gen) @ torch.linalg.qr(torch.randn(8, 3, generator=gen))[0].T
    text = captions_around(torch.nn.functional.normalize(torch.ones(8), dim=0) * 3, plane)
    projection = subspace(text)
    assert torch.allclose(projection @ projection, projection, atol=1e-5)
    assert torch.allclose(projection, projection.T, atol=1e-5)
    assert float(projection.trace()) == pytest.approx(3, abs=1e-4)  # four dimensions less the shared one
    shared = torch.linalg.eigh(text.T @ text).eigenvectors[:, -1]
    assert (projection @ shared).norm() < 1e-4
    assert torch.allclose(
        projection, torch.eye(8) @ (torch.linalg.pinv(text) @ text - torch.outer(shared, shared)), atol=1e-4
    )
    assert float(subspace(text, 1).trace()) == pytest.approx(1, abs=1e-4)
    assert torch.equal(subspace(text[:1]), torch.zeros(8, 8))  # one caption shares all with itself


def test_the_projection_of_either_side_is_enough(trained: Clip, batch: Batch) -> None:
    image, text = encode_images(trained, batch.images), encode_captions(trained, batch.captions)
    shared = subspace(text)
    assert torch.allclose((image @ shared) @ (text @ shared).T, (image @ shared) @ text.T, atol=1e-5)


def test_more_samples_are_paid_for(trained: Clip, batch: Batch) -> None:
    """Three points judged, two samples and their steps at each of two gradients, each of these with one copy."""
    spent = [
        kind(TEXT, PGD(IMAGE.threat, steps=2, scales=(0.5,)), samples=2)(
            trained, batch, Generator().manual_seed(0)
        ).outcome
        for kind in (DRA, SAAET)
    ]
    for outcome in spent:
        assert outcome is not None
        assert (
            outcome.forwards.tolist() == [1 + 3 + 2 * (2 + 2 + 2) + 3 + 1] * 6
        )  # texts look once each, the blend thrice
        assert outcome.backwards.tolist() == [2 * (2 + 1)] * 6
