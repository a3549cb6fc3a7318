"""SGA: who is called in which order, and with what."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Generator

from immunize.attacks import PGD, SGA, BertAttack
from immunize.batch import Batch
from immunize.models import Clip
from immunize.models.encode import encode_captions, encode_images
from immunize.threats import Ball, Edits

TEXT, IMAGE = BertAttack(Edits(), typos=4), PGD(Ball("linf", 8 / 255), steps=2)


@dataclass
class Record:
    """Calls of both attacks: (name, images, captions) as they came in; the fakes darken and mark."""

    calls: list[tuple[str, float, tuple[str, ...]]] = field(default_factory=list)

    def text(self, attack: BertAttack, model: Any, batch: Batch, rng: Generator) -> Batch:
        self.calls.append(("text", float(batch.images.mean()), batch.captions))
        return replace(batch, captions=tuple(f"{caption} edited{len(self.calls)}" for caption in batch.captions))

    def image(self, attack: PGD, model: Any, batch: Batch, rng: Generator) -> Batch:
        self.calls.append(("image", float(batch.images.mean()), batch.captions))
        return replace(batch, images=batch.images / 2)


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Record:
    made = Record()
    monkeypatch.setattr(BertAttack, "__call__", lambda *call: made.text(*call))
    monkeypatch.setattr(PGD, "__call__", lambda *call: made.image(*call))
    return made


def test_text_then_image_then_text_from_the_original(record: Record, trained: Clip, batch: Batch) -> None:
    after = SGA(TEXT, IMAGE)(trained, batch, Generator())
    mean = float(batch.images.mean())
    edited = tuple(f"{caption} edited1" for caption in batch.captions)
    assert [call[0] for call in record.calls] == ["text", "image", "text"]
    assert record.calls[0][1:] == (mean, batch.captions)
    assert record.calls[1][1:] == (mean, edited)  # the clean image, against the edited captions
    assert record.calls[2][1:] == (pytest.approx(mean / 2), batch.captions)  # the attacked image, the original captions
    assert after.captions == tuple(f"{caption} edited3" for caption in batch.captions)
    assert torch.equal(after.images, batch.images / 2)


def test_once_is_text_then_image(record: Record, trained: Clip, batch: Batch) -> None:
    after = SGA(TEXT, IMAGE, again=False)(trained, batch, Generator())
    assert [call[0] for call in record.calls] == ["text", "image"]
    assert after.captions == record.calls[1][2] and torch.equal(after.images, batch.images / 2)


def test_both_together_are_stronger_than_either(trained: Clip, batch: Batch) -> None:
    def distance(attack: Any) -> float:
        after = attack(trained, batch, Generator().manual_seed(0))
        image, text = encode_images(trained, after.images), encode_captions(trained, after.captions)
        return -(image[batch.owner] * text).sum(dim=1).mean().item()

    assert distance(SGA(TEXT, IMAGE)) > max(distance(TEXT), distance(IMAGE))
