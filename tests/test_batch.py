"""A batch that is not what it says refuses to exist."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest
import torch

from immunize.batch import Batch


def batch(**changed: Any) -> Batch:
    fields: dict[str, Any] = {
        "images": torch.rand(2, 3, 4, 4), "captions": ("a", "b", "c"), "owner": torch.tensor([0, 0, 1]),
        "image_ids": ("i", "j"), "caption_ids": ("i0", "i1", "j0"),
    }  # fmt: skip
    return Batch(**(fields | changed))


def test_length_is_the_number_of_images() -> None:
    assert len(batch()) == 2
    empty = {"images": torch.rand(0, 3, 4, 4), "owner": torch.zeros(0, dtype=torch.int64)}
    assert len(batch(**empty, captions=(), image_ids=(), caption_ids=())) == 0


@pytest.mark.parametrize("pixel", [-1e-3, 1.001, 255.0, float("nan")])
def test_pixels_outside_the_unit_interval_are_refused_with_the_cure(pixel: float) -> None:
    """Normalized inputs must not pass silently (attacks.md 5.11)."""
    images = torch.rand(2, 3, 4, 4)
    images[1, 2, 3, 0] = pixel
    with pytest.raises(ValueError, match=r"\[0, 1\]; put the normalization inside the model"):
        batch(images=images)


def test_lengths_that_differ_are_named() -> None:
    with pytest.raises(ValueError, match="2 images, 1 image ids"):
        batch(image_ids=("i",))
    with pytest.raises(ValueError, match="2 captions, 3 owners"):
        batch(captions=("a", "b"))


def test_nothing_can_be_reassigned() -> None:
    with pytest.raises(FrozenInstanceError):
        batch().captions = ()  # type: ignore[misc]


def test_to_moves_both_tensors() -> None:
    empty = {"images": torch.rand(0, 3, 4, 4), "owner": torch.zeros(0, dtype=torch.int64)}
    moved = batch(**empty, captions=(), image_ids=(), caption_ids=()).to(torch.device("meta"))
    assert moved.images.device.type == moved.owner.device.type == "meta"
