"""Sparse pairs of a small world, with every tool an augmentation may ask for."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from immunize.data.augmentation import Material, sparse
from immunize.data.loader import Pairs


def propose(captions: Sequence[str], k: int) -> list[list[list[str]]]:
    """Words that are long on letters and short on sense."""
    return [[[f"{word}{j}" for j in range(k)] for word in caption.split()] for caption in captions]


def describe(weights: str, images: Tensor, n: int, seed: int) -> list[list[str]]:
    """The mean brightness, which at least depends on the picture."""
    means = images.float().mean((1, 2, 3)).tolist()
    return [[f"brightness {mean:.2f} told {j} {seed}" for j in range(n)] for mean in means]


def paint(weights: str, captions: Sequence[str], side: int, seed: int) -> Tensor:
    """A gray square, as bright as the caption is long."""
    bright = torch.tensor([(len(caption) + seed) % 256 for caption in captions], dtype=torch.uint8)
    return bright[:, None, None, None].expand(-1, 3, side, side).clone()


@pytest.fixture
def material(pairs: Pairs) -> Material:
    given, rest = sparse(pairs.head(40), 1)
    return Material(pairs=given, seed=3, rest=rest, propose=propose, describe=describe, paint=paint)
