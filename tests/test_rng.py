"""Draws that follow the example: against the published hash in plain integers, and as random as they must be."""

from __future__ import annotations

import hashlib
from statistics import NormalDist

import pytest
import torch
from torch import Generator

from immunize.rng import CACHED, draw_seed, keys, normal, uniform


def lowbias32(x: int) -> int:
    """C. Wellons' finalizer, as published."""
    x = (x ^ x >> 16) * 0x7FEB352D & 0xFFFFFFFF
    x = (x ^ x >> 15) * 0x846CA68B & 0xFFFFFFFF
    return x ^ x >> 16


def expected(seed: int, key: int, j: int) -> float:
    low = lowbias32(key & 0x7FFFFFFF ^ seed)
    high = lowbias32((key >> 31 & 0x7FFFFFFF) + low & 0xFFFFFFFF)
    return (lowbias32(lowbias32(j ^ low) + high & 0xFFFFFFFF) >> 8) / 2**24


def test_uniform_is_the_hash_of_seed_key_and_place() -> None:
    ids = ("a", "b", "photo 17.jpg")
    found = uniform(2**31 - 2, keys(ids), 9).tolist()
    assert found == [[expected(2**31 - 2, key, j) for j in range(9)] for key in keys(ids).tolist()]


@pytest.mark.parametrize("count", [CACHED // 2, CACHED // 2 + 1, CACHED + 7])
def test_it_is_the_same_in_pieces(count: int) -> None:
    """Two rows and one left over, a row each, a row that is longer than a piece."""
    names = keys(["a", "b", "c", "d", "e"])
    found = uniform(11, names, count)
    assert found.shape == (5, count)
    assert all(torch.equal(found[i : i + 1], uniform(11, names[i : i + 1], count)) for i in range(5))
    for place in (0, 1, count // 2, count - 1):
        assert found[4, place] == expected(11, int(names[4]), place)


def test_keys_are_those_of_blake2b() -> None:
    digest = hashlib.blake2b(b"a", digest_size=8).digest()
    assert keys(["a"]).tolist() == [int.from_bytes(digest, "little") // 2]
    assert len(set(keys([str(i) for i in range(1000)]).tolist())) == 1000


def test_a_row_depends_on_its_own_id_alone() -> None:
    all_of_them = uniform(3, keys(["a", "b", "c"]), 50)
    assert torch.equal(uniform(3, keys(["c", "a"]), 50), all_of_them[[2, 0]])
    assert torch.equal(uniform(3, keys(["b"]), 20), all_of_them[1:2, :20])


def test_a_seed_too_large_for_32_bits_is_no_error() -> None:
    assert torch.equal(uniform(2**31 + 5, keys(["a"]), 4), uniform(5, keys(["a"]), 4))


@pytest.mark.parametrize("axis", ["place", "key", "seed"])
def test_the_numbers_look_uniform_and_independent(axis: str) -> None:
    """Kolmogorov-Smirnov below its 0.1 % quantile, neighbors uncorrelated, along each of the three arguments."""
    n = 4096
    ids = [str(i) for i in range(n)]
    draws = {
        "place": lambda: uniform(1, keys(["x"]), n)[0],
        "key": lambda: uniform(1, keys(ids), 1)[:, 0],
        "seed": lambda: torch.cat([uniform(seed, keys(["x"]), 1)[0] for seed in range(n)]),
    }[axis]()
    grid = (torch.arange(n) + 0.5) / n
    assert (draws.sort().values - grid).abs().max() < 1.95 / n**0.5
    assert torch.corrcoef(torch.stack([draws[1:], draws[:-1]]))[0, 1].abs() < 3.3 / n**0.5
    assert draws.min() >= 0 and draws.max() < 1


def test_normal_is_the_inverse_distribution_function_of_uniform() -> None:
    """Python's own at the middle of each of the 2^24 cells of `uniform`; single precision is coarse far out."""
    ids, inverse = keys([str(i) for i in range(40)]), NormalDist().inv_cdf
    expected = [[inverse(u + 2**-25) for u in row] for row in uniform(7, ids, 50).tolist()]
    assert torch.allclose(normal(7, ids, 50), torch.tensor(expected), atol=1e-4)


def test_normal_is_finite_at_both_ends_and_symmetric(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = torch.tensor([[0.0, 1 - 2**-24]])
    monkeypatch.setattr("immunize.rng.uniform", lambda seed, keys, count: ends)
    low, high = normal(0, keys(["a"]), 2)[0].tolist()
    assert low == -high and 5 < high < 6


def test_normal_has_the_moments_of_the_standard_normal() -> None:
    draws = normal(1, keys(["x"]), 2**16)[0].double()
    z = (draws - draws.mean()) / draws.std()
    assert abs(draws.mean()) < 3.3 / 2**8 and abs(draws.std() - 1) < 3.3 / 2**8.5
    assert abs((z**4).mean() - 3) < 3.3 * 24**0.5 / 2**8


def test_draw_seed_moves_the_generator_on_and_nothing_else() -> None:
    state = torch.get_rng_state()
    rng = Generator().manual_seed(0)
    first, second = draw_seed(rng), draw_seed(rng)
    assert first != second and min(first, second) >= 0 and max(first, second) < 2**31
    assert draw_seed(Generator().manual_seed(0)) == first
    assert torch.equal(state, torch.get_rng_state())
