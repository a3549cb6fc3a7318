"""Few pixels, moved as far as they go: those whose gradients lift one text and lower the others."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Generator, Tensor

from immunize.attacks.victim import Best, Rows, Victim
from immunize.batch import Batch, Embedding, Signal
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.threats import Ball

Effect = Float[Tensor, "n p"]  # of moving each pixel, to first order


@frozen
class JSMA:
    """Move the pair p, q with the largest (a_p + a_q) (b_p + b_q), both sums > 0, until it fools (arXiv:1511.07528 sec. IV).

    a is what moving a pixel adds to the logit of the text aimed at, b what it takes from the mean of all others, to first
    order; where no pair does both, the largest a + b > 0. threat: an l_0 ball, in pixels. theta: how far each channel of a
    pixel moves at once, in [0, 1]. direction: "up" or "down" as in the paper, or "both", each channel the way that adds to
    a + b. pixels: how many move at once; 2 is the pair, searched among `candidates` pixels of each kind, other numbers take the
    best one by one. targeted: towards `Batch.targets`, else towards the wrong text that ranks highest.
    """

    threat: Ball
    theta: Annotated[float, Field(gt=0, le=1)] = 1.0
    direction: Literal["up", "down", "both"] = "both"
    pixels: Annotated[int, Field(ge=1)] = 2
    candidates: Annotated[int, Field(ge=2)] = 16
    targeted: bool = False
    kind: Literal["jsma"] = "jsma"

    def __post_init__(self) -> None:
        if self.threat.norm != "l0":
            raise ValueError(f"threat: JSMA counts pixels, so the norm is l0, not {self.threat.norm}")

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        with Victim.of(model, batch, "margin", self.targeted) as victim:
            return victim.finish(batch, self.search(victim))

    def search(self, victim: Victim) -> Best:
        """The first point found to fool each example of `victim`, or the one of highest margin."""
        best, rows, x = Best(victim.clean), victim.all, victim.clean
        while len(rows):
            spent = self.spent(x, victim.clean[rows])
            if spent.any():  # the verdict is all that is left to know
                best.update(x[spent], victim.query(x[spent], rows[spent]), rows[spent])
                rows, x = rows[~spent], x[~spent]
                continue
            x = x.detach().requires_grad_()
            image = victim.embed(x, rows)
            judged = victim.verdict(image, rows)
            best.update(x, judged, rows)
            if judged.success.all():
                break
            after = self._move(victim, x, image, rows)
            left = ~judged.success & (after != x).flatten(1).any(dim=1)  # else no pixel is left that helps
            rows, x = rows[left], after[left]
        return best

    def spent(self, x: Signal, clean: Signal) -> Bool[Tensor, " n"]:
        """Whether the threat allows no further pixel, and no channel of a touched one has a way to go."""
        touched = (x != clean).flatten(2).any(dim=1)
        up, down = (x >= clean) & (x < 1), (x <= clean) & (x > 0)
        free = {"up": up, "down": down, "both": up | down}[self.direction].flatten(2).any(dim=1)
        return (self.threat.eps - touched.sum(dim=1) < 1) & ~(touched & free).any(dim=1)

    def _move(self, victim: Victim, x: Signal, image: Embedding, rows: Rows) -> Signal:
        """x with the most salient pixels moved, as many as the threat still allows."""
        moved, a, b = self.effects(victim, x, image, rows)
        x, clean = x.detach(), victim.clean[rows]
        touched = (x != clean).flatten(2).any(dim=1)
        room = self.threat.eps - touched.sum(dim=1, keepdim=True)
        closed = ~touched & (room <= 0)
        a, b = a.masked_fill(closed, -torch.inf), b.masked_fill(closed, -torch.inf)
        chosen, good = self._pair(a, b) if self.pixels == 2 else _largest(a, b, self.pixels)
        new = good & ~touched.gather(1, chosen)
        good = good & (~new | (new.cumsum(dim=1) <= room))
        mask = torch.zeros_like(touched).scatter(1, chosen, good)
        return torch.where(mask.view(len(x), 1, *x.shape[2:]), moved, x)

    def effects(self, victim: Victim, x: Signal, image: Embedding, rows: Rows) -> tuple[Signal, Effect, Effect]:
        """x with every pixel moved, and what each of them does to the text aimed at and to the others."""
        lifts, lowers = _saliency(victim, x, image, rows)
        x, clean = x.detach(), victim.clean[rows]
        way = {"up": torch.ones_like(x), "down": -torch.ones_like(x), "both": (lifts + lowers).sign()}[self.direction]
        moved = torch.where(way * (x - clean) < 0, x, (x + self.theta * way).clamp(0, 1))  # never back: it ends
        a, b = ((part * (moved - x)).flatten(2).sum(dim=1) for part in (lifts, lowers))
        return moved, a, b

    def _pair(self, a: Effect, b: Effect) -> tuple[Int[Tensor, "n m"], Bool[Tensor, "n m"]]:
        """The best pair among the pixels that are best alone, in a and in b: linear in the number of pixels."""
        count = min(self.candidates, a.shape[1])
        short = torch.cat([values.topk(count, dim=1).indices for values in (score(a, b), a, b)], dim=1)
        both_a, both_b = (part[:, :, None] + part[:, None] for part in (a.gather(1, short), b.gather(1, short)))
        scores = score(both_a, both_b).masked_fill(short[:, :, None] == short[:, None], -torch.inf)
        top, place = scores.flatten(1).max(dim=1)
        pair = torch.stack([place // short.shape[1], place % short.shape[1]], dim=1)
        return short.gather(1, pair), (top > -torch.inf)[:, None].expand(-1, 2)


def score(a: Float[Tensor, "*n"], b: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """a b where both are above 0; below all those what at least raises a + b, and -inf for what does not."""
    rise = (a + b).clamp(min=0)
    return torch.where((a > 0) & (b > 0), a * b, -1 / rise)


def _saliency(victim: Victim, x: Signal, image: Embedding, rows: Rows) -> tuple[Signal, Signal]:
    """d z_t / dx of the text aimed at, and minus that of the mean of all others (arXiv:1511.07528 eq. 8)."""
    bank = victim.bank.take(rows)
    logits = bank.logits(image)
    wrong = logits.detach().masked_fill(bank.own, -torch.inf).argmax(dim=1)
    aim = (wrong if bank.target is None else bank.target)[:, None]
    reached = logits.gather(1, aim)[:, 0]
    lifts = victim.gradient(reached, x, rows, retain=True)
    seen = logits.masked_fill(logits.isinf(), 0.0)  # hidden texts are no others
    others = (seen.sum(dim=1) - reached) / max(1, logits.shape[1] - 1)
    return lifts, -victim.gradient(others, x, rows)


def _largest(a: Effect, b: Effect, count: int) -> tuple[Int[Tensor, "n m"], Bool[Tensor, "n m"]]:
    """The pixels of the highest scores."""
    top, chosen = score(a, b).topk(min(count, a.shape[1]), dim=1)
    return chosen, top > -torch.inf
