"""The ball of a sound: decibels by hand, inside and in range, silence stays silent."""

from __future__ import annotations

from math import log10

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from immunize.config import ConfigurationError, parse
from immunize.rng import keys
from immunize.threats import Waveform

CLEAN = torch.tensor([[[0.5, -1.0, 0.25]], [[0.01, 0.0, -0.02]], [[0.0, 0.0, 0.0]]])
KEYS = keys(["a", "b", "c"])


def test_twenty_decibels_are_a_tenth_of_the_loudest_sample() -> None:
    assert Waveform(-20.0).reach(CLEAN).flatten().tolist() == pytest.approx([0.1, 0.002, 0.0])
    assert Waveform(0.0).reach(CLEAN).flatten().tolist() == pytest.approx([1.0, 0.02, 0.0])


@settings(deadline=None, max_examples=50)
@given(st.floats(-60, 0), st.floats(0, 4), st.integers(0, 1000))
def test_a_point_is_projected_inside_and_stays(decibels: float, reach: float, seed: int) -> None:
    threat = Waveform(decibels)
    x = CLEAN + reach * torch.randn(CLEAN.shape, generator=torch.Generator().manual_seed(seed))
    for inside in (threat.project(x, CLEAN), threat.sample(CLEAN, KEYS, seed)):
        assert inside.abs().max() <= 1 and torch.equal(inside[2], CLEAN[2])
        for after, clean in zip(inside[:2], CLEAN[:2], strict=True):
            moved = (after - clean).abs().max().item()
            assert moved == 0 or 20 * log10(moved / clean.abs().max().item()) <= decibels + 1e-2
        assert torch.allclose(threat.project(inside, CLEAN), inside, atol=1e-6)


def test_louder_than_the_sound_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="decibels"):
        parse({"decibels": 3}, Waveform, "here")
