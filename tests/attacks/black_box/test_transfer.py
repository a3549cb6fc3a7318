"""What an attacker who knows only parts can do, between nothing and everything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator

from immunize.attacks import PGD, Noise
from immunize.attacks.black_box import Transfer
from immunize.batch import Batch
from immunize.data.loader import Pairs
from immunize.models import Clip, save
from immunize.models.encode import encode_images
from immunize.models.initial import Small
from immunize.threats import Ball

WHITE = PGD(Ball("linf", 8 / 255), steps=10, objective="margin")


def rng() -> Generator:
    return Generator().manual_seed(0)


@pytest.fixture(scope="module")
def same(trained: Clip, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The model itself, saved."""
    folder = tmp_path_factory.mktemp("same")
    save(trained, folder)
    return str(folder)


@pytest.fixture(scope="module")
def other(small: Small, pairs: Pairs, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same architecture with other weights."""
    folder = tmp_path_factory.mktemp("other")
    save(small.make(pairs.captions, 1), folder)
    return str(folder)


def value(after: Batch) -> float:
    assert after.outcome is not None
    return after.outcome.value.mean().item()


@pytest.mark.parametrize("knows", ["nothing", "architecture", "vision", "text"])
def test_through_the_model_itself_it_is_the_white_box(knows: Any, same: str, trained: Clip, batch: Batch) -> None:
    after = Transfer(WHITE, same, knows)(trained, batch, rng())
    expected = WHITE(trained, batch, rng())
    assert torch.allclose(after.images, expected.images, atol=1e-5)
    assert after.outcome is not None and expected.outcome is not None
    assert after.outcome.success.tolist() == expected.outcome.success.tolist()


@pytest.mark.parametrize("knows", ["architecture", "vision", "text"])
def test_never_stronger_than_the_white_box(knows: Any, other: str, trained: Clip, batch: Batch) -> None:
    after, white = Transfer(WHITE, other, knows)(trained, batch, rng()), WHITE(trained, batch, rng())
    assert after.outcome is not None and white.outcome is not None
    assert (after.outcome.success <= white.outcome.success).all() and value(after) < value(white)
    assert after.outcome.forwards.tolist() == [1] * len(batch) and (after.outcome.backwards == 0).all()


def test_the_vision_tower_alone_is_much(trained: Clip, batch: Batch) -> None:
    """Away from its own clean embedding, without a text: further than noise, and than a surrogate's guess of it."""
    attack = Transfer(replace(WHITE, objective="away"), knows="vision")
    after, noise = attack(trained, batch, rng()), Noise(WHITE.threat)(trained, batch, rng())
    clean = encode_images(trained, batch.images)
    apart, floor = ((encode_images(trained, b.images) * clean).sum(dim=1) for b in (after, noise))
    assert (apart < floor - 0.1).all() and value(after) > value(noise)


def test_it_does_not_see_the_captions(trained: Clip, batch: Batch) -> None:
    attack = Transfer(replace(WHITE, objective="away"), knows="vision")
    turned = replace(batch, captions=batch.captions[::-1], truth=(None,) * len(batch))
    assert torch.equal(attack(trained, turned, rng()).images, attack(trained, batch, rng()).images)


def test_what_does_not_fit_is_said(small: Small, pairs: Pairs, other: str, trained: Clip, batch: Batch) -> None:
    with pytest.raises(ValueError, match="surrogate: who knows architecture"):
        Transfer(WHITE, knows="architecture")
    with pytest.raises(ValueError, match="attack: without a text"):
        Transfer(WHITE, knows="vision")
    with pytest.raises(ValueError, match="random_start"):
        Transfer(replace(WHITE, objective="away", random_start=False), knows="vision")
    wide = replace(small, embed_dim=8).make(pairs.captions, 0).eval()
    with pytest.raises(ValueError, match=f"surrogate: {Path(other)} is not of"):
        Transfer(WHITE, other, "architecture")(wide, batch, rng())
