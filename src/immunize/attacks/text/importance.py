"""Which words of a caption matter: by masking each one, or by one gradient."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from immunize.attacks.text.draft import Draft
from immunize.attacks.text.rules import Edit

Places = Sequence[tuple[int, int]]


def ranked(draft: Draft, at: Places, mask: str | None) -> list[tuple[int, int]]:
    """The places, the most important first: by masking, or by the gradient where there is no mask."""
    if not at:
        return []
    scores = by_gradient(draft, at) if mask is None else by_masking(draft, at, mask)
    return [at[i] for i in scores.argsort(descending=True, stable=True).tolist()]


def by_masking(draft: Draft, at: Places, mask: str) -> Float[Tensor, " e"]:
    """-<f(x), g(t with `mask` at that word)> for each (caption, word) of `at`: one encoding a word (arXiv:2004.09984)."""
    return draft.score([draft.after(Edit(caption, position, mask)) for caption, position in at])[1]


def by_gradient(draft: Draft, at: Places) -> Float[Tensor, " e"]:
    """||d <f(x), g(t)> / d (vectors of that word)||_2 for each (caption, word) of `at`: one backward pass for all.

    Needs a tokenizer that splits words one by one, as byte-pair tokenizers do; a word cut off by the context length
    has importance 0.
    """
    gradient = draft.slope().gradient
    energy = torch.nn.functional.pad(gradient.square().sum(dim=-1).cumsum(dim=1), (1, 0))
    first, last = spans(draft, at).clamp(max=gradient.shape[1]).to(energy.device).unbind(dim=1)
    owner = torch.tensor([c for c, _ in at], dtype=torch.int64, device=energy.device)
    return (energy[owner, last] - energy[owner, first]).clamp(min=0).sqrt()


def spans(draft: Draft, at: Places) -> Int[Tensor, "e 2"]:
    """First and last-plus-one token of each word, the start of text being token 0."""
    ends = {caption: draft.ends(caption) for caption in dict.fromkeys(caption for caption, _ in at)}
    return torch.tensor([(ends[c][p], ends[c][p + 1]) for c, p in at], dtype=torch.int64).view(-1, 2)
