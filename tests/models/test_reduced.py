"""Towers in 16 bits: float32 outside, the same attack within noise, the pixels never rounded to 16 bits."""

from __future__ import annotations

import torch
from torch import Generator

from immunize.attacks import PGD
from immunize.data.loader import Pairs
from immunize.models import Clip, DualEncoder
from immunize.models.encode import encode_captions, encode_images
from immunize.models.reduced import Reduced
from immunize.threats import Ball


def test_what_comes_out_is_float32_and_close(trained: Clip, held_out: Pairs) -> None:
    batch, reduced = held_out.batch(torch.arange(8)), Reduced(trained)
    assert isinstance(reduced, DualEncoder)
    for encode, given in ((encode_images, batch.images), (encode_captions, batch.captions)):
        ours, plain = encode(reduced, given), encode(trained, given)  # type: ignore[operator]
        assert ours.dtype == torch.float32 and 0 < (ours - plain).abs().max() < 0.05


def test_the_attack_is_as_strong_and_its_pixels_are_float32(trained: Clip, held_out: Pairs) -> None:
    """bfloat16 has steps of 1/255 near 1: a perturbation kept in it could not move (attacks.md 5.10)."""
    batch = held_out.batch(torch.arange(24))
    attack = PGD(Ball("linf", 1 / 255), steps=10, step=0.1, random_start=False, objective="margin")
    plain, reduced = (attack(model, batch, Generator()) for model in (trained, Reduced(trained)))
    assert reduced.images.dtype == torch.float32
    assert (reduced.images.bfloat16().float() != reduced.images).float().mean() > 0.5
    assert plain.outcome is not None and reduced.outcome is not None
    assert abs(plain.outcome.success.float().mean() - reduced.outcome.success.float().mean()) <= 0.1
    text = encode_captions(trained, batch.captions)
    cosine = [
        (encode_images(trained, one.images)[batch.owner] * text).sum(dim=1).mean() for one in (plain, reduced, batch)
    ]
    assert (cosine[2] - cosine[1]) > 0.9 * (cosine[2] - cosine[0]) > 0
