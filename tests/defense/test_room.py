"""One vector for what several processes sum: each tensor has its room, and lies there as it lay."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from immunize.defense.team import _room

SHAPES = st.lists(st.lists(st.integers(0, 4), max_size=4), min_size=1, max_size=4)


@given(SHAPES, st.randoms(use_true_random=False))
def test_every_tensor_has_its_own_room_and_its_own_strides(shapes: list[list[int]], random) -> None:
    tensors = []
    for shape in shapes:
        order = random.sample(range(len(shape)), len(shape))
        tensors.append(torch.randn(shape).permute(order))
    flat, slots = _room(tensors)
    for slot, x in zip(slots, tensors, strict=True):
        assert slot.shape == x.shape and (x.numel() < 2 or slot.stride() == x.stride())
        slot.copy_(x)
    assert all(torch.equal(slot, x) for slot, x in zip(slots, tensors, strict=True))  # none wrote into another
    assert flat.sum().isclose(sum(x.sum() for x in tensors), atol=1e-4) and len(flat) == sum(x.numel() for x in tensors)


def test_what_has_holes_gets_room_without_them_and_types_meet() -> None:
    wide = torch.arange(12.0).view(3, 4)
    flat, slots = _room([wide[:, ::2], wide[0].expand(2, 4), torch.ones(2, dtype=torch.float64)])
    for slot, x in zip(slots, (wide[:, ::2], wide[0].expand(2, 4), torch.ones(2)), strict=True):
        assert torch.equal(slot.copy_(x).float(), x.float())
    assert flat.dtype == torch.float64 and len(flat) == 6 + 8 + 2
    assert flat.tolist() == [0, 2, 4, 6, 8, 10, 0, 1, 2, 3, 0, 1, 2, 3, 1, 1]
