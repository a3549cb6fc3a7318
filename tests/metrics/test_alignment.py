"""Alignment by a loop over pairs, and against captions whose truth is plain."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from immunize.data.scenes.world import Scene, Thing
from immunize.metrics.alignment import cosine, mismatched, true_share

SCENE = Scene("striped", (Thing("circle", "red", "small", 0, 0),)).to_json()


def test_cosine_agrees_with_a_loop() -> None:
    rng = torch.Generator().manual_seed(0)
    images, texts = (normalize(torch.randn(n, 5, generator=rng), dim=1) for n in (4, 9))
    owner = [0, 3, 3, 1, 2, 2, 2, 0, 1]
    loop = sum(float(images[o] @ texts[c]) for c, o in enumerate(owner)) / 9
    assert cosine(images, texts, torch.tensor(owner)) == pytest.approx(loop, abs=1e-6)
    assert cosine(images, texts[:0], torch.tensor([], dtype=torch.long)) is None


def test_mismatched_agrees_with_a_loop() -> None:
    rng = torch.Generator().manual_seed(0)
    images, texts = (normalize(torch.randn(n, 5, generator=rng), dim=1) for n in (4, 9))
    owner = [0, 3, 3, 1, 2, 2, 2, 0, 1]
    wrong = [float(images[i] @ texts[c]) for i in range(4) for c in range(9) if owner[c] != i]
    assert mismatched(images, texts, torch.tensor(owner)) == pytest.approx(sum(wrong) / 27, abs=1e-6)
    assert mismatched(images[:1], texts[:1], torch.tensor([0])) is None


def test_collapse_lifts_the_mismatched_with_the_rest() -> None:
    images, texts = normalize(torch.randn(4, 5), dim=1), normalize(torch.randn(4, 5), dim=1)
    toward = torch.ones(5)
    apart, collapsed = (
        mismatched(normalize(images + w * toward, dim=1), normalize(texts + w * toward, dim=1), torch.arange(4))
        for w in (0.0, 20.0)
    )
    assert apart is not None and collapsed is not None and collapsed > 0.9 > apart


def test_true_share_by_hand() -> None:
    captions = ["a red ball", "a blue ball", "a tiny disc at the top left", "a red ball"]
    assert true_share(captions, [0, 0, 0, 1], [SCENE, None]) == pytest.approx(200 / 3)  # of the last nothing is known
    assert true_share(captions, [0, 0, 0, 0], [None]) is None
    assert true_share([], [], [SCENE]) is None
