"""A system before the pairs of one batch: what a gradient goes up, and what counts as done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from immunize.attacks.image.pgd import Point
from immunize.attacks.victim import Judged, Rows, Victim, bank_of
from immunize.batch import Batch, Image, Signal
from immunize.evaluation.adaptive.system import Known, Response, System
from immunize.models.encode import untouched
from immunize.models.wrapped import Wrapped
from immunize.objectives import Bank, Name
from immunize.objectives.ranking import gap
from immunize.rng import keys


class Answer(NamedTuple):
    """The system's word on each pair: how far its caption is from ranking first (above 0: wrong), flagged, and how."""

    margin: Float[Tensor, " n"]
    flagged: Bool[Tensor, " n"]
    action: Int[Tensor, " n"]

    @property
    def success(self) -> Bool[Tensor, " n"]:
        """Wrong and not flagged."""
        return (self.margin > 0) & ~self.flagged


class Target:
    """The pairs of `batch`, one caption an image, before `system`; banks are made when they are asked for."""

    def __init__(self, system: Known, batch: Batch) -> None:
        self.system, self.batch = system, batch
        self.keys = keys(batch.image_ids)
        self._banks: dict[str, Bank] = {}

    @classmethod
    @contextmanager
    def of(cls, system: System, batch: Batch) -> Iterator[Target]:
        """Every model of the system frozen and in evaluation mode meanwhile, and left as it was.

        Raises ValueError where an image has not exactly one caption, RuntimeError under torch.inference_mode().
        """
        if batch.owner.tolist() != list(range(len(batch))):
            raise ValueError("an item is an image with the one caption it comes with: pass `adaptive.paired(batch)`")
        known = system if isinstance(system, Known) else Known(system)
        with untouched(_Rig(known)):
            yield cls(known, batch)

    def bank(self, action: str) -> Bank:
        """What an image is ranked against under an action: all texts but those that say what its own caption said."""
        if action not in self._banks:
            bank = bank_of(self.system.under(action), self.batch)
            twins = _same(self.batch, bank) & ~bank.own
            hidden = twins if bank.hidden is None else bank.hidden | twins
            self._banks[action] = replace(bank, hidden=hidden)
        return self._banks[action]

    def captions(self, rows: Rows) -> tuple[str, ...]:
        """The captions of some pairs, of which one may be asked for several times."""
        return tuple(self.batch.captions[i] for i in rows.tolist())

    def suspicion(self, x: Image, rows: Rows) -> Float[Tensor, " n"]:
        """The suspicion of images `x` with the captions of pairs `rows`."""
        return self.system.suspicion(x, self.captions(rows)) if len(rows) else x.flatten(1).sum(dim=1)

    @torch.no_grad()
    def serve(self, x: Image, rows: Rows) -> Answer:
        """The answer to images `x`, 8-bit as a file holds them, with the captions of pairs `rows`.

        Raises ValueError where it is not finite.
        """
        return self.answer(self.system.respond((x * 255).round() / 255, self.captions(rows)), rows)

    def answer(self, response: Response, rows: Rows) -> Answer:
        """A response ranked in the bank of the action that was taken, its own caption as it came back."""
        if not (response.image.isfinite().all() and response.text.isfinite().all()):
            raise ValueError("the system answered with embeddings that are not finite, which is no answer")
        margin = torch.zeros(len(rows), device=response.image.device)
        for index, action in enumerate(self.system.actions):
            mine = (response.action == index).nonzero().flatten()
            if len(mine):
                margin[mine] = _margin(response.image[mine], response.text[mine], self.bank(action).take(rows[mine]))
        return Answer(margin, response.flagged, response.action)


class Seen(NamedTuple):
    """The two scores of the last points judged, apart, still differentiable in them."""

    task: Float[Tensor, " n"]
    suspicion: Float[Tensor, " n"]
    fooled: Bool[Tensor, " n"]


class Slopes(NamedTuple):
    """d task / dx and d suspicion / dx, and which points fool."""

    task: Signal
    suspicion: Signal
    fooled: Bool[Tensor, " n"]


class Watched(Victim):
    """value = task - weight * suspicion under one action, done where fooled and not flagged, by the white box.

    `seen` keeps both apart: adding them up loses one whose slope is far below the other's.
    """

    def __init__(self, target: Target, action: str, objective: Name = "margin", weight: float = 0.0) -> None:
        self.target, self.weight = target, weight
        encode, bank = target.system.under(action).encode_image, target.bank(action)
        Victim.__init__(self, encode, target.batch.images, bank, target.keys, objective)
        self.seen: Seen | None = None

    def judge(self, x: Signal, rows: Rows) -> Judged:
        seen = self.look(x, rows)
        return Judged(seen.task - self.weight * seen.suspicion, self.done(seen))

    def look(self, x: Signal, rows: Rows) -> Seen:
        """Both scores of each x_i; one pass through the model and one through the detector."""
        judged = Victim.judge(self, x, rows)
        self.seen = Seen(judged.value, self.target.suspicion(x, rows).float(), judged.success)
        return self.seen

    def done(self, seen: Seen) -> Bool[Tensor, " n"]:
        """Fooled and at most at the threshold."""
        return seen.fooled & (seen.suspicion <= self.target.system.threshold)

    def gradient(self, value: Float[Tensor, " n"], x: Signal, rows: Rows, retain: bool = False) -> Signal:
        """d (sum of value) / dx; 0 where a defense cut the graph, which is for `sanity` to report, not to stop at."""
        self.backwards.index_add_(0, rows, torch.ones_like(rows))
        if not value.requires_grad:
            return torch.zeros_like(x)
        slope = torch.autograd.grad(value.sum(), x, retain_graph=retain, allow_unused=True)[0]
        return torch.zeros_like(x) if slope is None else slope

    def slopes(self, at: Point) -> Slopes:
        """Both slopes at the point judged last."""
        seen = self.seen
        assert seen is not None, "a rule asks about the point that was judged last"
        task = self.gradient(seen.task, at.x, at.rows, retain=True)
        return Slopes(task, self.gradient(seen.suspicion, at.x, at.rows), seen.fooled)

    def slope(self, at: Point) -> Signal:
        """d (task - weight * suspicion) / dx at the point judged last."""
        return self.gradient(at.value, at.x, at.rows)


class _Rig(Wrapped):
    """Every module of a system, for `untouched` to find."""

    def __init__(self, system: Known) -> None:
        models = [system.under(action) for action in system.actions]
        Wrapped.__init__(self, models[0])
        rest = [*models, system.system]
        self.rest = nn.ModuleList([one for one in rest if isinstance(one, nn.Module)])


def paired(batch: Batch) -> Batch:
    """Each image with the first of its captions alone: the pair that comes in. Its other captions are left out.

    Raises ValueError where an image has none.
    """
    first: dict[int, int] = {}
    for caption, owner in enumerate(batch.owner.tolist()):
        first.setdefault(owner, caption)
    if len(first) < len(batch):
        raise ValueError(f"{len(batch) - len(first)} of {len(batch)} images have no caption to come with")
    chosen = [first[image] for image in range(len(batch))]
    return replace(
        batch,
        captions=tuple(batch.captions[c] for c in chosen),
        caption_ids=tuple(batch.caption_ids[c] for c in chosen),
        owner=torch.arange(len(batch), device=batch.owner.device),
        originals=tuple(batch.originals[c] for c in chosen) if batch.originals else (),
        outcome=None,
    )


def _same(batch: Batch, bank: Bank) -> Bool[Tensor, "b k"]:
    """Which texts of the bank say, letter for letter, what the pair's caption said before any attack."""
    originals: Sequence[str] = batch.originals or batch.captions
    texts = (*batch.captions, *(batch.originals if batch.originals != batch.captions else ()), *batch.gallery)
    place: dict[str, int] = {}
    index = torch.tensor([place.setdefault(text, len(place)) for text in texts], device=bank.own.device)
    own = torch.tensor([place[text] for text in originals], device=bank.own.device)
    return index[None] == own[:, None]


def _margin(image: Tensor, text: Tensor, bank: Bank) -> Float[Tensor, " n"]:
    """The best wrong text's logit less that of the pair's own `text`."""
    own = bank.scale.float() * (image.float() * text.float()).sum(dim=1, keepdim=True)
    return gap(torch.where(bank.own, own, bank.logits(image)), bank)
