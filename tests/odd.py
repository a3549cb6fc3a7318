"""Odd images and texts, for whoever takes both, and what a refusal of them says; 300 of them, or those of `make fuzz`."""

from __future__ import annotations

import math

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

REFUSED = r"^(images|texts)\[0\] "
many = settings(
    max_examples=max(300, settings().max_examples),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
STRANGE = (
    "",
    " ",
    "\x00",
    "\x1b[31m red",
    "\u202eright to left",
    "שלום עולם",
    "🧑‍🚀🎨",
    "\ud800",
    "\ufffe",
    "a\u200bb",
    "[MASK] [UNK]",
)
PIECES = (*STRANGE, "x", "red ", "é", "a red circle", "two small stars on a striped ground")
texts = st.one_of(  # a piece, and how many characters of it: a failing example is to be read
    st.tuples(st.sampled_from(PIECES), st.sampled_from([0, 0, 0, 100_000])),
    st.tuples(st.text(max_size=60), st.just(0)),
    st.tuples(st.text(alphabet=st.characters(categories=["Cc", "Cf", "Cs", "Mn", "So"]), max_size=20), st.just(0)),
)
sides = st.sampled_from([0, 1, 2, 3, 5, 31, 32, 33, 64])


def picture(height: int, width: int, how: str, seed: int) -> Tensor:
    image = torch.rand(1, 3, height, width, generator=Generator().manual_seed(seed))
    if how in ("zeros", "ones"):
        return torch.full_like(image, float(how == "ones"))
    if how != "random" and image.numel():
        value = {"nan": math.nan, "inf": math.inf, "below": -0.1, "above": 1.5}[how]
        image.view(-1)[seed % image.numel()] = value
    return image


HOW = ("random", "random", "zeros", "ones", "nan", "inf", "below", "above")
pictures = st.tuples(sides, sides, st.sampled_from(HOW), st.integers(0, 10_000))
Shown, Said = tuple[int, int, str, int], tuple[str, int]


def pair(shown: Shown, said: Said) -> tuple[Tensor, str, bool]:
    """One image, one text, and whether both are what can be judged."""
    image, text = picture(*shown), said[0] * max(1, said[1] // max(len(said[0]), 1))
    numbers = bool(image.numel()) and bool(((image >= 0) & (image <= 1)).all())
    return image, text, numbers and not any("\ud800" <= c <= "\udfff" for c in text)
