"""What an attack sees: verdicts, counted passes, banks of captions and of classes, targets, the best point kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from immunize.attacks import PGD
from immunize.attacks.victim import Best, Judged, Victim, bank_of
from immunize.batch import Batch
from immunize.models import Clip
from immunize.models.encode import encode_captions, encode_images
from immunize.objectives import Bank, margin
from immunize.rng import keys
from immunize.threats import Ball, Waveform

CLASSES = ("a photo of a red circle", "a photo of a blue square", "a photo of a green star", "a photo of a dog")


def rng() -> Generator:
    return Generator().manual_seed(0)


@pytest.fixture
def classified(batch: Batch, trained: Clip) -> Batch:
    """The batch without captions, its labels what the model says of the clean images."""
    logits = encode_images(trained, batch.images) @ encode_captions(trained, CLASSES).T
    nothing = torch.empty(0, dtype=torch.int64)
    return replace(batch, captions=(), caption_ids=(), owner=nothing, gallery=CLASSES, labels=logits.argmax(dim=1))


def test_the_bank_holds_captions_then_gallery(trained: Clip, batch: Batch) -> None:
    bank = bank_of(trained, replace(batch, gallery=CLASSES))
    assert torch.allclose(bank.text, encode_captions(trained, batch.captions + CLASSES))
    assert bank.own.sum(dim=1).tolist() == [2] * 6 and not bank.own[:, len(batch.captions) :].any()
    assert bank.own[batch.owner, torch.arange(12)].all()


def test_classification_is_a_bank_of_prompts(trained: Clip, classified: Batch) -> None:
    with Victim.of(trained, classified, "cross_entropy") as victim:
        clean = victim.query(victim.clean, victim.all)
        assert not clean.success.any() and victim.bank.own.sum(dim=1).tolist() == [1] * 6
    after = PGD(Ball("linf", 16 / 255), steps=10, objective="cross_entropy")(trained, classified, rng())
    predicted = (encode_images(trained, after.images) @ encode_captions(trained, CLASSES).T).argmax(dim=1)
    assert after.outcome is not None and after.outcome.success.any()
    assert after.outcome.success.tolist() == (predicted != classified.labels).tolist()


def test_a_targeted_attack_reaches_its_text(trained: Clip, batch: Batch) -> None:
    wanted = ("a photo of a dog",) * 5 + (batch.captions[0],)
    attack = PGD(Ball("linf", 32 / 255), steps=20, objective="cross_entropy", targeted=True)
    after = attack(trained, replace(batch, targets=wanted), rng())
    assert after.outcome is not None and after.outcome.success.float().mean() >= 0.5
    logits = encode_images(trained, after.images) @ encode_captions(trained, (*batch.captions, wanted[0])).T
    best = [(*batch.captions, wanted[0])[i] for i in logits.argmax(dim=1).tolist()]
    assert [b == w for b, w in zip(best, wanted, strict=True)] == after.outcome.success.tolist()


def test_what_is_missing_is_said(trained: Clip, batch: Batch) -> None:
    with pytest.raises(ValueError, match=r"needs Batch\.targets"):
        PGD(Ball("linf", 0.1), targeted=True)(trained, batch, rng())
    empty = torch.empty(0, dtype=torch.int64)
    with pytest.raises(ValueError, match="nothing to rank"):
        PGD(Ball("linf", 0.1))(trained, replace(batch, captions=(), caption_ids=(), owner=empty), rng())
    with pytest.raises(ValueError, match="infonce takes its negatives"):
        PGD(Ball("linf", 0.1), objective="infonce", early_stop=True)


def test_every_pass_is_counted(trained: Clip, batch: Batch) -> None:
    after = PGD(Ball("linf", 8 / 255), steps=4, scales=(0.5,), restarts=2)(trained, batch, rng())
    assert after.outcome is not None
    assert after.outcome.forwards.tolist() == [2 * (5 + 4)] * 6  # five points judged, four copies of them
    assert after.outcome.backwards.tolist() == [2 * 4] * 6
    again = PGD(Ball("linf", 8 / 255), steps=1)(trained, after, rng())
    assert again.outcome is not None and again.outcome.forwards.tolist() == [20] * 6


def test_fooled_images_leave_the_batch_and_the_others_do_not_notice(trained: Clip, batch: Batch) -> None:
    slow = PGD(Ball("linf", 8 / 255), steps=12, step=0.05, objective="margin", restarts=2)
    whole, early = slow(trained, batch, rng()), replace(slow, early_stop=True)(trained, batch, rng())
    assert whole.outcome is not None and early.outcome is not None
    assert torch.equal(whole.outcome.success, early.outcome.success)
    fell = early.outcome.success
    assert fell.any()
    assert (early.outcome.forwards[fell] < whole.outcome.forwards[fell]).all()
    assert torch.equal(early.outcome.forwards[~fell], whole.outcome.forwards[~fell])
    assert torch.allclose(early.images[~fell], whole.images[~fell], atol=1e-5)


def test_taking_and_putting_back(trained: Clip, batch: Batch) -> None:
    """An image faces the same texts alone, and what is done to it comes back to its place."""
    attack, rows = PGD(Ball("linf", 8 / 255), steps=3, objective="margin"), torch.tensor([4, 1])
    whole = attack(trained, batch, rng())
    part = attack(trained, batch.take(rows), rng())
    assert torch.allclose(part.images, whole.images[rows], atol=1e-5)
    back = whole.put(rows, part)
    assert torch.allclose(back.images, whole.images, atol=1e-5) and back.captions == batch.captions
    assert back.outcome is not None and back.outcome.forwards.tolist() == [4, 8, 4, 4, 8, 4]
    assert sorted(batch.take(rows).captions + batch.take(rows).gallery) == sorted(batch.captions)


def test_what_became_of_the_neighbors_does_not_matter(trained: Clip, batch: Batch) -> None:
    """An image's own captions are ranked as they are, among the others' as they were, alone and in company."""
    edited = replace(batch, captions=tuple(f"{c} dog" for c in batch.captions), originals=batch.captions)
    image = encode_images(trained, batch.images)
    values = margin(image, bank_of(trained, edited))
    for i in range(6):
        own = [c for c, o in enumerate(batch.owner.tolist()) if o == i]
        texts = [caption for c, caption in enumerate(batch.captions) if c not in own]
        best = (image[i] @ encode_captions(trained, [edited.captions[c] for c in own]).T).max()
        rival = (image[i] @ encode_captions(trained, texts).T).max()
        assert values[i].item() == pytest.approx(((rival - best) * trained.logit_scale).item(), abs=1e-3)
        alone = edited.take(torch.tensor([i]))
        assert margin(image[i : i + 1], bank_of(trained, alone)).item() == pytest.approx(values[i].item(), abs=1e-3)


def test_the_best_point_fools_before_it_has_a_high_value() -> None:
    best, rows = Best(torch.zeros(3, 1, 1, 1)), torch.arange(3)

    def step(values: list[float], success: list[bool], pixel: float) -> list[float]:
        best.update(torch.full((3, 1, 1, 1), pixel), Judged(torch.tensor(values), torch.tensor(success)), rows)
        return best.x.flatten().tolist()

    assert step([5.0, 5.0, 5.0], [False] * 3, 0.1) == pytest.approx([0.1, 0.1, 0.1])
    assert step([1.0, 6.0, 4.0], [True, False, False], 0.2) == pytest.approx([0.2, 0.2, 0.1])
    assert step([9.0, 9.0, 9.0], [False, True, False], 0.3) == pytest.approx([0.2, 0.3, 0.3])
    assert best.value.tolist() == [1.0, 9.0, 9.0] and best.success.tolist() == [True, True, False]


def test_sound_needs_no_new_attack() -> None:
    """A waveform ball in decibels and a tower of one convolution: the same ascent, inside the threat."""
    gen = rng()
    clean = 0.5 * torch.sin(torch.linspace(0, 60, 800))[None, None] * torch.tensor([1.0, 0.1, 0.0]).view(3, 1, 1)
    kernel, text = torch.randn(8, 1, 16, generator=gen), torch.randn(4, 8, generator=gen)

    def encode(x: Tensor) -> Tensor:
        return torch.nn.functional.conv1d(x, kernel, stride=4).tanh().mean(dim=2)

    bank = Bank(text, torch.eye(4).bool()[:3], torch.tensor(10.0))
    victim = Victim(encode, clean, bank, keys(["a", "b", "c"]), "margin")
    attack = PGD(Waveform(-20.0), steps=10)
    best = attack.search(victim, 0)
    loudest = (best.x - clean).abs().amax(dim=(1, 2)) / clean.abs().amax(dim=(1, 2)).clamp(min=1e-12)
    assert loudest[:2].tolist() == pytest.approx([0.1, 0.1], rel=1e-3) and torch.equal(best.x[2], clean[2])
    assert (best.value > margin(encode(clean), bank))[:2].all()


@pytest.mark.parametrize("name", ["linf", "l2", "l0"])
def test_the_ascent_works_in_every_norm(name: Any, trained: Clip, batch: Batch) -> None:
    ball = Ball(name, {"linf": 8 / 255, "l2": 1.0, "l0": 40.0}[name])
    after = PGD(ball, steps=10, objective="margin", random_start=False)(trained, batch, rng())
    before = bank_of(trained, batch)
    assert (ball.distance(after.images, batch.images) <= ball.eps + 1e-5).all()
    assert after.outcome is not None
    assert (after.outcome.value > margin(encode_images(trained, batch.images), before) + 0.01).all()
