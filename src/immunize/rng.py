"""Random numbers that follow the example: the same draw for the same id, whatever the batch, the order or the device."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

# Numbers that are mixed at a time on a CPU, in whole rows: all at once is bound by memory, and takes ten times as long.
CACHED = 2**17


def draw_seed(rng: Generator) -> int:
    """One 31-bit seed from `rng`, which moves on: two calls of an attack with one generator differ."""
    return int(torch.randint(2**31 - 1, (), generator=rng, device=rng.device))


def keys(ids: Sequence[str]) -> Int[Tensor, " n"]:
    """A 63-bit integer for each id, the same in every process: randomness follows the example."""
    digests = [hashlib.blake2b(i.encode(), digest_size=8).digest() for i in ids]
    return torch.tensor([int.from_bytes(d, "little") >> 1 for d in digests], dtype=torch.int64)


def uniform(seed: int, keys: Int[Tensor, " n"], count: int) -> Float[Tensor, "n count"]:
    """`count` numbers in [0, 1) for each key, by a counter-based hash: element j depends on (seed, key, j) alone."""
    low = _mix((keys & 0x7FFFFFFF).to(torch.int32) ^ (seed & 0x7FFFFFFF))
    high = _mix((keys >> 31 & 0x7FFFFFFF).to(torch.int32) + low)
    counters = torch.arange(count, dtype=torch.int32, device=keys.device)
    found = torch.empty(len(keys), count, device=keys.device)
    rows = max(1, CACHED // max(1, count)) if keys.device.type == "cpu" else len(keys) or 1
    for out, first, second in zip(found.split(rows), low.split(rows), high.split(rows)):
        mixed = _mix(_mix(counters[None] ^ first[:, None]).add_(second[:, None]))
        out.copy_(mixed.bitwise_right_shift_(8).bitwise_and_(0xFFFFFF)).div_(2**24)
    return found


def normal(seed: int, keys: Int[Tensor, " n"], count: int) -> Float[Tensor, "n count"]:
    """`count` standard normal numbers for each key: the inverse distribution function of `uniform`."""
    return torch.erfinv(2 * uniform(seed, keys, count) + (2**-24 - 1)) * 2**0.5


def _mix(z: Tensor) -> Tensor:
    """The 32-bit finalizer `lowbias32` (C. Wellons, 2018); int32 products wrap, shifts are made logical."""
    z = (z ^ (z >> 16).bitwise_and_(0xFFFF)).mul_(0x7FEB352D)
    z ^= (z >> 15).bitwise_and_(0x1FFFF)
    z *= -0x7B935975  # 0x846CA68B as a signed 32-bit number
    z ^= (z >> 16).bitwise_and_(0xFFFF)
    return z
