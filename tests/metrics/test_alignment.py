"""Alignment by a loop over pairs, and against captions whose truth is plain."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from immunize.data.scenes.world import Scene, Thing
from immunize.metrics.alignment import cosine, true_share

SCENE = Scene("striped", (Thing("circle", "red", "small", 0, 0),)).to_json()


def test_cosine_agrees_with_a_loop() -> None:
    rng = torch.Generator().manual_seed(0)
    images, texts = (normalize(torch.randn(n, 5, generator=rng), dim=1) for n in (4, 9))
    owner = [0, 3, 3, 1, 2, 2, 2, 0, 1]
    loop = sum(float(images[o] @ texts[c]) for c, o in enumerate(owner)) / 9
    assert cosine(images, texts, torch.tensor(owner)) == pytest.approx(loop, abs=1e-6)
    assert cosine(images, texts[:0], torch.tensor([], dtype=torch.long)) is None


def test_true_share_by_hand() -> None:
    captions = ["a red ball", "a blue ball", "a tiny disc at the top left", "a red ball"]
    assert true_share(captions, [0, 0, 0, 1], [SCENE, None]) == pytest.approx(200 / 3)  # of the last nothing is known
    assert true_share(captions, [0, 0, 0, 0], [None]) is None
    assert true_share([], [], [SCENE]) is None
