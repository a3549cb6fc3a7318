"""CMI-Attack: the text sees the noise that the image starts from; the first step is a plain one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Generator

from immunize.attacks import CMI, PGD, BertAttack
from immunize.batch import Batch
from immunize.models import Clip
from immunize.rng import draw_seed, keys
from immunize.threats import Ball, Edits

BALL = Ball("linf", 8 / 255)
TEXT = BertAttack(Edits(words=2), typos=4)


def rng() -> Generator:
    return Generator().manual_seed(0)


def test_the_text_is_guided_by_the_start_of_the_image(
    trained: Clip, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Batch] = []
    call = BertAttack.__call__

    def record(self: BertAttack, model: Any, batch: Batch, rng: Generator) -> Batch:
        seen.append(batch)
        return call(self, model, batch, rng)

    monkeypatch.setattr(BertAttack, "__call__", record)
    after = CMI(TEXT, PGD(BALL, steps=0))(trained, batch, rng())
    expected = BALL.sample(batch.images, keys(batch.image_ids), draw_seed(rng()))
    assert torch.equal(seen[0].images, expected)
    assert torch.equal(after.images, expected)  # of no step the start is left


def test_without_copies_it_is_text_then_momentum(trained: Clip, batch: Batch) -> None:
    image = PGD(BALL, steps=3, momentum=0.9)
    edited = CMI(TEXT, replace(image, steps=0))(trained, batch, rng()).captions
    after = CMI(TEXT, image)(trained, batch, rng())
    expected = image(trained, replace(batch, captions=edited), rng())
    assert after.captions == edited and torch.equal(after.images, expected.images)


def test_the_first_step_goes_without_the_copies(trained: Clip, batch: Batch) -> None:
    """One pass a point, and the copies at every step but the first."""
    outcome = CMI(TEXT, PGD(BALL, steps=3, momentum=0.9, scales=(0.5, 1.5)))(trained, batch, rng()).outcome
    assert outcome is not None and outcome.forwards.tolist() == [1 + 4 + 2 * 2] * 6
    one = PGD(BALL, steps=1, scales=(0.5, 1.5))
    plain = CMI(TEXT, replace(one, scales=()))(trained, batch, rng())
    assert torch.equal(CMI(TEXT, one)(trained, batch, rng()).images, plain.images)
