"""What a substitute would change to first order: one gradient prices all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag

from immunize.attacks.text.draft import Draft
from immunize.attacks.text.importance import spans
from immunize.attacks.text.rules import Edit, Place


def leading(draft: Draft, choices: Mapping[Place, Sequence[str]], count: int) -> list[Edit]:
    """The `count` edits of each caption that promise most, of all the choices at all the places."""
    places, words, best, index = _best(draft, choices, count)
    if not places:
        return []
    width, best = best.shape[1], best.flatten()
    caption = torch.tensor([caption for caption, _ in places], device=best.device).repeat_interleave(width)
    order = best.argsort(descending=True, stable=True)
    order = order[caption[order].argsort(stable=True)]
    rank = torch.arange(len(order), device=order.device) - torch.searchsorted(caption[order], caption[order])
    kept = order[(rank < count) & best[order].isfinite()]
    chosen = index.flatten()[kept].tolist()
    return [Edit._make((*places[at // width], words[word])) for at, word in zip(kept.tolist(), chosen)]


def promising(draft: Draft, choices: Mapping[Place, Sequence[str]], count: int) -> dict[Place, list[str]]:
    """The `count` words at each place that promise most, of those that may stand there."""
    places, words, best, index = _best(draft, choices, count)
    found = zip(places, index.tolist(), best.isfinite().sum(dim=1).tolist())
    return {place: [words[i] for i in row[:allowed]] for place, row, allowed in found}


def _best(
    draft: Draft, choices: Mapping[Place, Sequence[str]], count: int
) -> tuple[list[Place], list[str], Float[Tensor, "p n"], Int[Tensor, "p n"]]:
    """The places that have a choice, all words, and of each place the highest prices with the words' numbers."""
    choices = {place: options for place, options in choices.items() if options}
    places = list(choices)
    # sorted: between equal prices neither the process's hash seed nor the company of a caption may decide
    words = sorted({word for options in set(map(tuple, choices.values())) for word in options})
    if not places:
        return [], [], torch.empty(0, 0), torch.empty(0, 0, dtype=torch.int64)
    prices = _prices(draft, places, words, _mask(choices, words).to(draft.guide.device))
    return places, words, *prices.topk(min(count, len(words)))


def _mask(choices: Mapping[Place, Sequence[str]], words: Sequence[str]) -> Bool[Tensor, "p w"]:
    """Which of the words may stand at which place."""
    number = {word: i for i, word in enumerate(words)}
    distinct = {id(options): options for options in choices.values()}  # equal words may share theirs
    rows = torch.arange(len(distinct)).repeat_interleave(torch.tensor([*map(len, distinct.values())]))
    mask = torch.zeros(len(distinct), len(words), dtype=torch.bool)
    mask[rows, torch.tensor([number[word] for options in distinct.values() for word in options])] = True
    row = {name: i for i, name in enumerate(distinct)}
    return mask[[row[id(options)] for options in choices.values()]]


def _prices(draft: Draft, places: Sequence[Place], words: Sequence[str], mask: Tensor) -> Float[Tensor, "p w"]:
    """<E[word] - E[word there], d value / d E[word there]> for each place and word; -inf where the mask says so.

    A word of other pieces than stand at the place is stretched to their number.
    """
    tokens, gradient = draft.slope()
    embedded = draft.model.embed_tokens(tokens)
    caption = torch.tensor([caption for caption, _ in places], device=tokens.device)
    first, last = spans(draft, places).to(tokens.device).clamp(max=tokens.shape[1] - 1).unbind(dim=1)
    prices = torch.full(mask.shape, -torch.inf, device=tokens.device)
    for width in (last - first).unique().tolist():
        rows = (last - first == width).nonzero()[:, 0]
        if not width:  # beyond the context
            continue
        at = first[rows, None] + torch.arange(width, device=tokens.device)
        slopes, there = gradient[caption[rows, None], at], embedded[caption[rows, None], at]
        prices[rows] = slopes.flatten(1) @ stretched(draft, words, width).flatten(1).T
        prices[rows] -= (slopes * there).sum(dim=(1, 2))[:, None]
    return prices.masked_fill(~mask, -torch.inf)


def stretched(draft: Draft, words: Sequence[str], width: int) -> Float[Tensor, "w n d"]:
    """The vectors of each word's pieces, as they are where their number is `width`, else repeated or averaged.

    Of c pieces, number floor(i c / width) to before ceil((i + 1) c / width) make vector i; of none comes 0.
    """
    draft.tokens.read(words)
    pieces = [draft.tokens.pieces(word) for word in words]
    device = draft.guide.device
    flat = torch.tensor(list(chain.from_iterable(pieces)), dtype=torch.int64, device=device)
    count = torch.tensor(list(map(len, pieces)), dtype=torch.int64, device=device)[:, None]
    slot = torch.arange(width, device=device)
    first = slot * count // width
    size = (((slot + 1) * count + width - 1) // width - first).flatten()
    start = (count.cumsum(dim=0) - count + first).flatten()
    bags = size.cumsum(dim=0) - size
    members = (start - bags).repeat_interleave(size) + torch.arange(int(size.sum()), device=device)
    vectors = draft.model.embed_tokens(flat[None])[0]
    return embedding_bag(members, vectors, bags, mode="mean").view(len(words), width, vectors.shape[1])
