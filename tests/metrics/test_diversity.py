"""Spread and distinct n-grams against loops over pairs and words, and by hand."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize

from immunize.metrics.diversity import distinct, spread


@given(st.lists(st.integers(0, 5), min_size=1, max_size=24), st.integers(0, 99))
def test_spread_agrees_with_a_loop_over_pairs(owner: list[int], seed: int) -> None:
    u = normalize(torch.randn(len(owner), 4, generator=torch.Generator().manual_seed(seed)), dim=1)
    means = []
    for item in set(owner):
        own = [u[i] for i, o in enumerate(owner) if o == item]
        distances = [1 - float(a @ b) for a, b in combinations(own, 2)]
        means += [sum(distances) / len(distances)] if distances else []
    found = spread(u, torch.tensor(owner))
    assert (found is None) == (not means)
    if found is not None:
        assert found == pytest.approx(sum(means) / len(means), abs=1e-6)


def test_spread_by_hand() -> None:
    u = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    assert spread(u, torch.tensor([0, 0, 1, 1, 2])) == pytest.approx(0.5)  # 1 at right angles, 0 alike, one alone
    assert spread(u[:0], torch.tensor([], dtype=torch.long)) is None


def test_distinct_by_hand() -> None:
    captions = ["a red ball", "a red box", "A red ball", "ball"]
    assert distinct(captions, [0, 0, 1, 2]) == pytest.approx((3 / 4 + 1) / 2)  # item 2 has no bigram
    assert distinct(captions, [0, 0, 0, 0], n=1) == pytest.approx(4 / 10)
    assert distinct(["ball"], [0]) is None


@given(st.lists(st.tuples(st.integers(0, 2), st.text("ab ", max_size=9)), max_size=9), st.integers(1, 3))
def test_distinct_agrees_with_a_loop(rows: list[tuple[int, str]], n: int) -> None:
    shares = []
    for item in {i for i, _ in rows}:
        grams = []
        for i, caption in rows:
            words = caption.split()
            grams += [words[k : k + n] for k in range(len(words)) if len(words[k : k + n]) == n and i == item]
        unique = [g for k, g in enumerate(grams) if g not in grams[:k]]
        shares += [len(unique) / len(grams)] if grams else []
    found = distinct([caption for _, caption in rows], [i for i, _ in rows], n)
    assert found == (pytest.approx(sum(shares) / len(shares)) if shares else None)
