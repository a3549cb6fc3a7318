"""The distinct beginnings of some texts: what a causal tower makes of a token depends on what stands before it alone."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor


class Beginnings(NamedTuple):
    """n beginnings of c texts, each text going up to its end (its largest id), where position j of text c is flat c l + j.

    first: a flat position of each. path[c, j]: the beginning that ends with token j of text c, one further on than the
    one at j - 1; 0 past the end, where nobody looks. end: the whole texts.
    """

    first: Int[Tensor, " n"]
    path: Int[Tensor, "c l"]
    end: Int[Tensor, " c"]


def beginnings(tokens: Int[Tensor, "c l"], shared: bool = True) -> Beginnings:
    """The beginnings of the texts, those that two texts share being one; else as many as there are tokens."""
    count, length = tokens.shape
    ends, row = tokens.argmax(dim=1), torch.arange(count, device=tokens.device)
    new = torch.arange(length, device=tokens.device) <= ends[:, None]
    order = row
    if shared and count > 1:  # in order, a text shares with the one before it all that it shares with any before
        order = _lexicographic(tokens)
        new, ends = new[order], ends[order]
        sorted_ = tokens[order]
        new[1:] &= (sorted_[1:] != sorted_[:-1]).cumsum(dim=1) > 0
    number = new.flatten().cumsum(dim=0).view(count, length) - 1
    latest = torch.where(new, row[:, None], 0).cummax(dim=0).values  # the text that had this beginning first
    path = number.gather(0, latest).clamp(min=0)
    back = order.argsort()
    flat = (order[:, None] * length + torch.arange(length, device=tokens.device))[new]
    return Beginnings(flat, path[back], path[row, ends][back])


def _lexicographic(tokens: Int[Tensor, "c l"]) -> Int[Tensor, " c"]:
    """The order of the rows, by the first token, then the second, and so on."""
    _, inverse = tokens.unique(dim=0, return_inverse=True)
    return inverse.argsort(stable=True)
