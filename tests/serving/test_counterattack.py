"""TTC step by step as its reference code does it, and the gate by hand."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Generator, Tensor
from torch.nn.functional import cosine_similarity

from immunize.batch import Batch
from immunize.models import Clip
from immunize.serving import Counterattack
from immunize.serving.counterattack import Counterattacking


def reference(model: Clip, x: Tensor, noise: Tensor, defense: Counterattack, shut: list[bool]) -> Tensor:
    """Image by image, weights written out: arXiv:2503.03613, algorithm 1."""
    answers = []
    for one, closed in zip(x.split(1), shut, strict=True):
        deltas = [(one + noise).clamp(0, 1) - one]
        still = model.encode_image(one).detach()
        for _ in range(defense.steps):
            delta = deltas[-1].clone().requires_grad_()
            ((model.encode_image(one + delta) - still) ** 2).sum().backward()
            assert delta.grad is not None
            moved = (deltas[-1] + defense.step * delta.grad.sign()).clamp(-defense.eps, defense.eps)
            deltas.append((one + moved).clamp(0, 1) - one)
        weights = [torch.e ** (defense.beta * k) for k in range(len(deltas))]
        mean = sum((w * d for w, d in zip(weights, deltas, strict=True)), torch.zeros_like(one)) / sum(weights)
        answers.append(deltas[0] if closed else mean)
    return torch.cat(answers)


def test_the_noise_is_that_of_the_algorithm(fresh_model: Clip, batch: Batch) -> None:
    model, images = fresh_model.eval(), batch.images
    defense = Counterattack(steps=3, beta=1.5, seed=5)
    noise = defense.eps * (2 * torch.rand(3, 32, 32, generator=Generator().manual_seed(5)) - 1)
    shift = [
        float((model.encode_image((x + noise).clamp(0, 1)) - model.encode_image(x)).detach().norm())
        for x in images.split(1)
    ]
    tau = sorted(shift)[len(shift) // 2] - 1e-6
    for gate in ("below", "above", "always"):
        shut = [gate != "always" and (s >= tau if gate == "below" else s <= tau) for s in shift]
        found, opened = Counterattacking(model, replace(defense, tau=tau, gate=gate)).find(images)
        assert opened.tolist() == [not closed for closed in shut]
        expected = reference(model, images, noise, defense, shut)
        assert (found - expected).abs().mean() < 2e-5  # signs of gradients near 0 may differ
        assert (
            found.abs().max() <= defense.eps + 1e-6
            and (images + found).clamp(0, 1).sub(images + found).abs().max() < 1e-6
        )


def test_it_moves_the_embedding_further_than_noise_does(trained: Clip, batch: Batch) -> None:
    counter = Counterattacking(trained, Counterattack(gate="always", steps=4, step=2 / 255))
    noise, _ = Counterattacking(trained, Counterattack(tau=-1.0)).find(batch.images)
    found, _ = counter.find(batch.images)
    still = trained.encode_image(batch.images)
    kept = [cosine_similarity(trained.encode_image(batch.images + d), still) for d in (noise, found)]
    assert (kept[1] < kept[0]).all()


def test_another_seed_is_another_noise(trained: Clip, batch: Batch) -> None:
    one, other = (Counterattacking(trained, Counterattack(seed=seed)).find(batch.images)[0] for seed in (0, 1))
    assert not torch.equal(one, other)
