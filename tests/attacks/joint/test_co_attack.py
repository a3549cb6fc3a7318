"""Co-Attack: its divergence by hand, its order, its two starts."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from immunize.attacks import PGD, BertAttack, CoAttack
from immunize.batch import Batch
from immunize.models import Clip
from immunize.models.encode import encode_captions, encode_images
from immunize.objectives import Bank
from immunize.threats import Ball, Edits

BALL = Ball("linf", 8 / 255)
TEXT = BertAttack(Edits(words=2), typos=4)
ATTACK = CoAttack(TEXT, PGD(BALL, steps=4))


def by_hand(p: list[float], q: list[float]) -> float:
    """sum_d P_d (log P_d - log Q_d) of softmaxes, one term after the other."""
    a, b = ([exp(v) / sum(map(exp, x)) for v in x] for x in (p, q))
    return sum(x * (log(x) - log(y)) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_the_divergence_by_hand(alpha: float) -> None:
    gen = Generator().manual_seed(0)
    image, anchor, text = (torch.randn(n, 4, generator=gen) for n in (2, 2, 3))
    bank = Bank(text, torch.tensor([[True, False, True], [False, True, False]]), torch.tensor(10.0), anchor=anchor)
    found = replace(ATTACK, alpha=alpha)._away(image, bank).tolist()
    own = [[text[0], text[2]], [text[1]]]
    for i in range(2):
        from_text = sum(by_hand(t.tolist(), image[i].tolist()) for t in own[i]) / len(own[i])
        assert found[i] == pytest.approx(by_hand(anchor[i].tolist(), image[i].tolist()) + alpha * from_text, abs=1e-5)


def test_rows_are_taken_with_their_anchor() -> None:
    bank = Bank(torch.eye(2), torch.eye(2).bool(), torch.tensor(1.0), anchor=torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert bank.take(torch.tensor([1, 1])).anchor.tolist() == [[3.0, 4.0], [3.0, 4.0]]  # type: ignore[union-attr]


def test_text_first_then_the_image_away_from_it_and_from_itself(trained: Clip, batch: Batch) -> None:
    after = ATTACK(trained, batch, Generator().manual_seed(0))
    assert after.captions == TEXT(trained, batch, Generator().manual_seed(0)).captions
    clean, image, text = (
        encode_images(trained, batch.images), encode_images(trained, after.images), encode_captions(trained, after.captions)
    )  # fmt: skip
    own = batch.owner[None] == torch.arange(6)[:, None]
    bank = Bank(text, own, torch.tensor(1.0), anchor=clean)
    assert after.outcome is not None
    assert torch.allclose(after.outcome.value, ATTACK._away(image, bank), atol=1e-5)
    assert (after.outcome.value > ATTACK._away(clean, bank)).all()


def test_the_published_start_is_on_one_side(trained: Clip, batch: Batch) -> None:
    """arXiv:2206.09391's code draws from [0, eps] (attacks.md 5.16)."""

    def start(attack: Any) -> Tensor:
        return attack(trained, batch, Generator().manual_seed(0)).images - batch.images

    still = CoAttack(TEXT, PGD(BALL, steps=0))
    both, one = start(still), start(replace(still, legacy=True))
    assert both.min() < -0.01 and one.min() >= 0 and one.max() > 0.02


@pytest.mark.parametrize(
    ("image", "legacy", "named"),
    [
        (PGD(BALL, objective="margin"), False, "image.objective"),
        (PGD(BALL, targeted=True), False, "image.targeted"),
        (PGD(BALL, restarts=2), True, "image.restarts"),
        (PGD(BALL, random_start=False), True, "image.random_start"),
    ],
)
def test_settings_without_a_meaning_are_refused(image: PGD, legacy: bool, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        CoAttack(TEXT, image, legacy=legacy)
