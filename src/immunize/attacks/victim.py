"""What an attack on signals sees of a model: one value and one verdict an example, every pass counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from immunize.batch import Batch, Embedding, Outcome, Signal
from immunize.models.dual_encoder import DualEncoder
from immunize.models.encode import encode_captions, untouched
from immunize.objectives import OBJECTIVES, Bank, Name, Objective, fooled
from immunize.rng import draw_seed, keys

Rows = Int[Tensor, " n"]


class Judged(NamedTuple):
    """value: the objective, bigger is better for the attacker. success: fooled, whatever the objective says."""

    value: Float[Tensor, " n"]
    success: Bool[Tensor, " n"]


class Victim:
    """x_i -> (value, success) for the examples of one batch; `rows` are positions in it, and may repeat or be few.

    `clean` is float32 and so is everything an attack does to it; the towers may compute in what they like. An attack
    needs no more than this, so it works on any tensor with a threat: a waveform's tower is another `encode`.
    """

    def __init__(
        self,
        encode: Callable[[Signal], Embedding],
        clean: Signal,
        bank: Bank,
        keys: Int[Tensor, " b"],
        objective: Objective | Name = "margin",
    ) -> None:
        self.encode = encode
        self.clean = clean.float()
        self.bank = bank
        self.keys = keys
        self.objective = OBJECTIVES[objective] if isinstance(objective, str) else objective
        self.all = torch.arange(len(clean), device=clean.device)
        self.forwards = torch.zeros_like(self.all)
        self.backwards = torch.zeros_like(self.all)

    @classmethod
    @contextmanager
    def of(
        cls, model: DualEncoder, batch: Batch, objective: Objective | Name = "margin", targeted: bool = False
    ) -> Iterator[Victim]:
        """The batch's images before `model`, which is left as it was: evaluation mode, frozen, gradients on meanwhile.

        Raises ValueError where a targeted attack finds no targets, RuntimeError under torch.inference_mode().
        """
        with untouched(model):
            bank = bank_of(model, batch, targeted)
            yield cls(model.encode_image, batch.images, bank, keys(batch.image_ids), objective)

    def __len__(self) -> int:
        return len(self.all)

    def embed(self, x: Signal, rows: Rows) -> Embedding:
        """f(x_i), one forward pass for each row; the model is not asked about none, for some vision towers fail on that."""
        if not len(rows):
            return x.flatten(1).sum(dim=1, keepdim=True) + self.bank.text[:0]  # of no rows, and differentiable
        self.forwards.index_add_(0, rows, torch.ones_like(rows))
        return self.encode(x)

    def logits(self, x: Signal, rows: Rows) -> Float[Tensor, "n k"]:
        """scale * <f(x_i), g(t)> for each text of the bank, in float32."""
        return self.bank.logits(self.embed(x, rows))

    def judge(self, x: Signal, rows: Rows) -> Judged:
        """The value and the verdict of each x_i; differentiable in x where gradients are on."""
        return self.verdict(self.embed(x, rows), rows)

    def verdict(self, image: Embedding, rows: Rows) -> Judged:
        """`judge` for images already embedded."""
        bank = self.bank.take(rows)
        return Judged(self.objective(image, bank), fooled(bank.logits(image.detach()), bank))

    def query(self, x: Signal, rows: Rows) -> Judged:
        """`judge` without a gradient: what a black box answers."""
        with torch.no_grad():
            return self.judge(x, rows)

    def gradient(self, value: Float[Tensor, " n"], x: Signal, rows: Rows, retain: bool = False) -> Signal:
        """d (sum of value) / dx, with respect to x alone: the sum, so that no batch size scales it.

        retain: more gradients will be taken of the same pass.
        """
        self.backwards.index_add_(0, rows, torch.ones_like(rows))
        return torch.autograd.grad(value.sum(), x, retain_graph=retain)[0]

    def finish(self, batch: Batch, best: Best) -> Batch:
        """The batch with the best images and what the attack did, the costs of earlier attacks on it included."""
        outcome = Outcome(
            success=best.success,
            value=best.value,
            forwards=self.forwards,
            backwards=self.backwards,
            texts=torch.zeros_like(self.forwards),
        )
        return replace(batch, images=best.x.detach(), outcome=outcome.after(batch.outcome))


class Best:
    """The best point of each example so far: one that fools before one that does not, then the higher value."""

    def __init__(self, clean: Signal) -> None:
        self.x = clean.clone()
        self.value = torch.full((len(clean),), -torch.inf, device=clean.device)
        self.success = torch.zeros(len(clean), dtype=torch.bool, device=clean.device)

    def update(self, x: Signal, judged: Judged, rows: Rows) -> Bool[Tensor, " n"]:
        """Keep what is better; says where."""
        value, success = judged.value.detach().float(), judged.success
        had = self.success[rows]
        better = (success & ~had) | ((value > self.value[rows]) & (success >= had))
        mask = better.view(-1, *[1] * (x.dim() - 1))
        self.x[rows] = torch.where(mask, x.detach(), self.x[rows])
        self.value[rows] = torch.where(better, value, self.value[rows])
        self.success[rows] = success | had
        return better


def searched(
    search: Callable[[Victim, int], Best],
    model: DualEncoder,
    batch: Batch,
    rng: Generator,
    objective: Objective | Name = "margin",
    targeted: bool = False,
) -> Batch:
    """The batch as `search(victim, seed)` leaves it, the seed being one draw from `rng`; raises what `Victim.of` does."""
    seed = draw_seed(rng)
    with Victim.of(model, batch, objective, targeted) as victim:
        return victim.finish(batch, search(victim, seed))


def check_leaving(objective: Name, early_stop: bool) -> None:
    """Raises ValueError where fooled images leave the batch and the objective needs them there."""
    if early_stop and objective == "infonce":
        raise ValueError("early_stop: infonce takes its negatives from the batch, so no image may leave it")


def bank_of(model: DualEncoder, batch: Batch, targeted: bool = False, known: Embedding | None = None) -> Bank:
    """Captions and gallery of the batch, encoded once; a target that is neither is added to them.

    Where captions are edited, each image is ranked against its own as they are and the others' as they were.
    known: the embeddings of the captions, where the caller has them.
    Raises ValueError where there is nothing to rank, or no target for a targeted attack.
    """
    originals = batch.originals if batch.originals != batch.captions else ()
    texts = (*batch.captions, *originals, *batch.gallery)
    if targeted and not batch.targets:
        raise ValueError("a targeted attack needs Batch.targets, the text that each image is to rank first")
    wanted = batch.targets if targeted else ()
    texts += tuple(text for text in dict.fromkeys(wanted) if text not in set(texts))
    if not texts:
        raise ValueError("nothing to rank an image against: give the batch captions, or a gallery of class prompts")
    device = batch.images.device
    own = torch.zeros(len(batch), len(texts), dtype=torch.bool, device=device)
    column, first = torch.arange(len(batch.captions), device=device), len(batch.captions) + len(originals)
    own[batch.owner, column] = True
    if batch.labels is not None:
        own[torch.arange(len(batch), device=device), first + batch.labels] = True
    hidden = torch.zeros_like(own)
    if originals:
        hidden[:, column] = ~own[:, column]
        hidden[:, len(column) + column] = own[:, column]
    target = torch.tensor([texts.index(text) for text in wanted], device=device) if wanted else None
    rest = texts if known is None else texts[len(known) :]
    parts = [part for part in (known, encode_captions(model, rest) if rest else None) if part is not None]
    return Bank(torch.cat(parts), own, model.logit_scale.detach(), target, hidden if originals else None)
