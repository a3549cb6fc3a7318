"""Captions whose words are mixtures of candidates: what an ascent on text by gradients moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from immunize.attacks.text.draft import Draft
from immunize.attacks.text.first_order import stretched
from immunize.attacks.text.importance import spans
from immunize.attacks.text.rules import Place, Rewrite


class RelaxedText:
    """The captions of a draft, `weights[s]` being the shares of the candidates at place s, the word itself first.

    `encode()` is g of the mixtures, with a gradient in `weights`; `ascend(gradient)` is one step, by whatever objective the
    gradient is of; `discretize()` spells the captions out. A candidate of more or fewer pieces than the word is stretched
    to as many, so the mixtures are a guide, and what they spell has to be scored.
    """

    def __init__(
        self, draft: Draft, choices: Mapping[Place, Sequence[str]], lr: float = 0.3, clip: float = 20.0
    ) -> None:
        self.draft, self.lr, self.clip = draft, lr, clip
        self.tokens = draft.tokens([" ".join(words) for words in draft.words])
        self.places, self.words = self._slots(choices)
        device, longest = self.tokens.device, max(map(len, self.words), default=1)
        sizes = torch.tensor([len(words) for words in self.words], dtype=torch.int64, device=device)
        self.caption = torch.tensor([c for c, _ in self.places], dtype=torch.int64, device=device)
        self.real: Bool[Tensor, "s k"] = torch.arange(longest, device=device) < sizes[:, None]
        self.start = torch.zeros(len(self.places), longest, device=device)
        self.start[:, 0] = 1
        self.weights = self.start.clone()
        self._mean, self._square, self._steps = torch.zeros_like(self.start), self.start.new_zeros(len(draft.words)), 0
        self.slot, self.at, self._vectors = self._layout(longest)

    def __len__(self) -> int:
        return len(self.places)

    def embedded(self) -> Float[Tensor, "c l w"]:
        """The vectors of all tokens, those at the places mixed by `weights`."""
        mixed = torch.einsum("tk,tkw->tw", self.weights[self.slot], self._vectors)
        base = self.draft.model.embed_tokens(self.tokens).detach()
        return base.index_put((self.caption[self.slot], self.at), mixed.to(base.dtype))

    def encode(self) -> Float[Tensor, "c d"]:
        """g of the mixtures, one text a caption."""
        self.draft.count(torch.arange(len(self.tokens), device=self.tokens.device))
        return self.draft.model.encode_text(self.tokens, self.embedded())

    def ascend(self, gradient: Float[Tensor, "s k"], entropy: float = 0.0) -> None:
        """One step of Adam up the gradient, then back to mixtures that are allowed, and not too mixed."""
        self._steps += 1
        length = gradient.norm(dim=1, keepdim=True).clamp(min=1e-12)
        gradient = gradient * (self.clip / length).clamp(max=1)
        steepest = torch.zeros_like(self._square).scatter_reduce(0, self.caption, gradient.abs().amax(dim=1), "amax")
        self._mean.lerp_(gradient, 0.1)
        self._square.lerp_(steepest.square(), 0.001)
        scale = (self._square / (1 - 0.999**self._steps)).sqrt()[self.caption, None] + 1e-8
        step = self.lr * self._mean / (1 - 0.9**self._steps) / scale
        weights = simplex(self.weights.detach() + step, self.real)
        self.weights = self._affordable(less_mixed(weights, self.real, entropy))

    def discretize(self, tries: int = 1) -> list[Rewrite]:
        """Each caption with its 1, 2, ... budget leading words replaced, and with each of the `tries` leading ones alone.

        A place leads by the weight of its best candidate over that of the word itself; one where nothing moved has none.
        """
        weights = self.weights.detach()
        if weights.shape[1] < 2:
            return []
        share, choice = weights[:, 1:].max(dim=1)
        found: dict[int, list[tuple[float, int, str]]] = {}
        for (caption, position), words, moved, own, k in zip(
            self.places, self.words, share.tolist(), weights[:, 0].tolist(), choice.tolist(), strict=True
        ):
            if moved > 0:
                found.setdefault(caption, []).append((own - moved, position, words[k + 1]))
        rewrites = []
        for caption, changes in found.items():
            leading = [change[1:] for change in sorted(changes)]
            rewrites += [self._spelled(caption, leading[: n + 1]) for n in range(self.draft.rules.budget[caption])]
            rewrites += [self._spelled(caption, [one]) for one in leading[1:tries]]
        return rewrites

    def _spelled(self, caption: int, changes: Sequence[tuple[int, str]]) -> Rewrite:
        words = list(self.draft.rules.original[caption])
        for position, word in changes:
            words[position] = word
        return Rewrite(caption, tuple(words))

    def _affordable(self, weights: Float[Tensor, "s k"]) -> Float[Tensor, "s k"]:
        """The mass moved away from the words of a caption, all of it lowered by as much, until the budget pays for it."""
        budget = torch.tensor(self.draft.rules.budget, dtype=weights.dtype, device=weights.device)
        moved = 1 - weights[:, 0]
        low, high = torch.zeros_like(budget), torch.ones_like(budget)
        for _ in range(24):
            middle = (low + high) / 2
            left = torch.zeros_like(budget).index_add(0, self.caption, (moved - middle[self.caption]).clamp(min=0))
            low, high = torch.where(left > budget, middle, low), torch.where(left > budget, high, middle)
        over = torch.zeros_like(budget).index_add(0, self.caption, moved) > budget
        kept = torch.where(over[self.caption], (moved - high[self.caption]).clamp(min=0), moved)
        return self.start + (kept / moved.clamp(min=1e-12))[:, None] * (weights - self.start)

    def _slots(self, choices: Mapping[Place, Sequence[str]]) -> tuple[list[Place], list[list[str]]]:
        """The places with something to choose, and the words of each, its own first."""
        open_ = [place for place, words in choices.items() if words]
        fits = (spans(self.draft, open_)[:, 1] < self.tokens.shape[1]).tolist()
        places = [place for place, fit in zip(open_, fits) if fit]
        return places, [[self.draft.words[c][p], *dict.fromkeys(choices[c, p])] for c, p in places]

    def _layout(self, longest: int) -> tuple[Int[Tensor, " t"], Int[Tensor, " t"], Float[Tensor, "t k w"]]:
        """The place and the column of each token that is mixed, and the vectors that it is mixed from."""
        ends, device = spans(self.draft, self.places), self.tokens.device
        width = (ends[:, 1] - ends[:, 0]).to(device)
        slot = torch.repeat_interleave(torch.arange(len(width), device=device), width)
        at = torch.arange(len(slot), device=device) - (width.cumsum(0) - width)[slot] + ends[:, 0].to(device)[slot]
        parts = [
            pad(stretched(self.draft, words, int(n)).transpose(0, 1), (0, 0, 0, longest - len(words)))
            for words, n in zip(self.words, width.tolist())
        ]
        empty = self.draft.model.embed_tokens(self.tokens[:0])  # c = 0 keeps the width
        return slot, at, torch.cat(parts).detach() if parts else empty.new_zeros(0, longest, empty.shape[2])


def simplex(x: Float[Tensor, "s k"], real: Bool[Tensor, "s k"]) -> Float[Tensor, "s k"]:
    """The nearest point of the simplex over the entries that are real; the others are 0 (Duchi et al. 2008 fig. 1)."""
    falling = x.masked_fill(~real, -1e4).sort(dim=1, descending=True).values
    rank = torch.arange(1, x.shape[1] + 1, device=x.device)
    surplus = falling.cumsum(dim=1) - 1
    size = (falling * rank > surplus).sum(dim=1, keepdim=True)
    threshold = surplus.gather(1, size - 1) / size
    return (x - threshold).clamp(min=0).masked_fill(~real, 0)


def less_mixed(x: Float[Tensor, "s k"], real: Bool[Tensor, "s k"], factor: float) -> Float[Tensor, "s k"]:
    """Pushed from the middle of its support until 1 - sum x^2 <= (1 - factor) of the highest there (2402.09154 alg. 3).

    1 - sum x^2 is the Tsallis entropy of order 2. The push may leave the simplex and is then projected back.
    """
    support = x > 0
    count = support.sum(dim=1, keepdim=True)
    center = support / count
    radius = (1 - (1 - factor) * (1 - 1 / count) - 1 / count).clamp(min=0).sqrt()
    away = torch.where(support, x - center, torch.zeros_like(x))
    length = away.norm(dim=1, keepdim=True)
    pushed = center + away * radius / length.clamp(min=1e-12)
    return torch.where((length < radius) & (length > 1e-6), simplex(pushed, real & support), x)
