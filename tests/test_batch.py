"""A batch that is not what it says refuses to exist."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from immunize.batch import Batch, Outcome


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


def test_labels_and_targets_are_one_an_image() -> None:
    with pytest.raises((ValueError, TypeError), match="labels"):  # under test the shapes are types, and speak first
        batch(labels=torch.tensor([0, 0, 1]), gallery=("x", "y"))
    with pytest.raises(ValueError, match="2 images, 1 targets"):
        batch(targets=("x",))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 4), max_size=8), st.permutations(range(5)), st.integers(0, 5))
def test_take_and_put_against_a_loop(owners: list[int], order: list[int], count: int) -> None:
    """Any owners, any rows in any order: captions follow their image, the others go to the gallery, and all come back."""
    n, rows = 5, order[:count]
    whole = Batch(
        images=torch.rand(n, 3, 2, 2), captions=tuple(f"c{i}" for i in range(len(owners))),
        owner=torch.tensor(owners, dtype=torch.int64), image_ids=tuple("abcde"),
        caption_ids=tuple(f"id{i}" for i in range(len(owners))), gallery=("p", "q"), labels=torch.tensor([0, 1, 0, 1, 1]),
        truth=tuple("vwxyz"), targets=tuple("klmno"),
    )  # fmt: skip
    part = whole.take(torch.tensor(rows, dtype=torch.int64))
    expected = [(place, f"c{c}") for place, row in enumerate(rows) for c, owner in enumerate(owners) if owner == row]
    assert list(zip(part.owner.tolist(), part.captions, strict=True)) == expected
    assert part.gallery == ("p", "q", *(f"c{c}" for c, owner in enumerate(owners) if owner not in rows))
    assert part.image_ids == tuple("abcde"[i] for i in rows) and part.truth == tuple("vwxyz"[i] for i in rows)
    assert part.targets == tuple("klmno"[i] for i in rows) and part.labels is not None
    assert part.labels.tolist() == [[0, 1, 0, 1, 1][i] for i in rows] and torch.equal(part.images, whole.images[rows])
    upper = Batch(**{f: getattr(part, f) for f in ("owner", "image_ids", "caption_ids")}, images=part.images * 0,
                  captions=tuple(map(str.upper, part.captions)))  # fmt: skip
    back = whole.put(torch.tensor(rows, dtype=torch.int64), upper)
    assert back.captions == tuple(f"C{c}" if o in rows else f"c{c}" for c, o in enumerate(owners))
    assert [(image == 0).all().item() for image in back.images] == [i in rows for i in range(n)]


def outcome(success: list[bool], passes: list[int], **rejected: list[int]) -> Outcome:
    count = torch.tensor(passes)
    refused = {name: torch.tensor(numbers) for name, numbers in rejected.items()}
    return Outcome(torch.tensor(success), torch.tensor(passes).float(), count, count, count, refused)


def test_costs_add_up_and_the_last_verdict_stands() -> None:
    first, second = outcome([True, False], [1, 2], stop=[1, 1]), outcome([False, False], [10, 20], number=[3, 4])
    both = second.after(first)
    assert second.after(None) is second and both.success.tolist() == [False, False]
    assert both.forwards.tolist() == both.texts.tolist() == [11, 22] and both.value.tolist() == [10, 20]
    assert {name: count.tolist() for name, count in both.rejected.items()} == {"stop": [1, 1], "number": [3, 4]}


def test_the_outcome_of_some_images_takes_their_place() -> None:
    whole = outcome([False, True, False], [1, 2, 3], stop=[1, 1, 1])
    found = whole.put(torch.tensor([2, 0]), outcome([True, False], [10, 20], stop=[5, 6], number=[7, 8]))
    assert found.success.tolist() == [False, True, True] and found.value.tolist() == [20, 2, 10]
    assert found.backwards.tolist() == [21, 2, 13]
    assert {name: count.tolist() for name, count in found.rejected.items()} == {"stop": [7, 1, 6], "number": [8, 0, 7]}
