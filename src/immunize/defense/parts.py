"""One step on a batch cut into parts, one after another or in several processes, with the whole batch's loss and gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from immunize.batch import Batch, Embedding
from immunize.data.loader import Pairs
from immunize.defense.method import Method
from immunize.defense.sampling import generator, pairs_of_step, rows_of_step
from immunize.defense.team import Team, training_norms
from immunize.defense.views import View, Views
from immunize.models import Clip
from immunize.models.remembering import Remembering

Found = dict[View, Tensor]  # of images, captions and places, so of several shapes


class Given(NamedTuple):
    """What a run has besides its model: that model before training, features in place of images, the processes."""

    reference: Clip | None = None
    images: Callable[[Batch], Embedding] | None = None
    team: Team = Team()


ALONE = Given()


class Draw(NamedTuple):
    """The pairs of a step (see `sampling`), and how many images a part has at most (None: all of a process's share)."""

    step: int
    size: int
    seed: int
    captions: int = 1
    chunk: int | None = None


class Part(NamedTuple):
    """Images `rows` and captions `texts` of the batch, before and after the inner attack."""

    rows: Int[Tensor, " r"]
    texts: Int[Tensor, " c"]
    clean: Batch
    attacked: Batch

    def at(self, view: View) -> Int[Tensor, " n"]:
        """Where the view's embeddings stand among those of the batch."""
        return self.texts if view.tower == "text" else self.rows


def backward(model: Clip, pairs: Pairs, method: Method, draw: Draw, given: Given = ALONE) -> Float[Tensor, ""]:
    """The loss L of the whole batch; dL/dw goes to `.grad`, the same in every process, up to rounding.

    GradCache (arXiv:2101.06983 sec. 3.1): L depends on the weights through the embeddings z and the temperature alone, so
    all z are found first without a graph, then dL/dz, then part by part dL/dw = sum dL/dz dz/dw; the last part keeps its
    graph from the first pass, so nothing is done twice where there is one. In several processes the z of all are gathered
    between (every negative counts) and the gradients summed after.

    Exact where a model treats images apart. Batch norms that train normalize a part by its own statistics, and an attack
    whose objective is `infonce` has the negatives of its part. Raises ValueError for fewer images than processes, and for
    a method that leaks.
    """
    team = given.team
    if method.leak:
        raise ValueError("method.leak: what leaks is of the whole batch; train in one process, without training.chunk")
    if draw.size < team.size:
        raise ValueError(f"training.batch: {team.size} processes need as many images a step; it is {draw.size}")
    whole, parts = _cut(model, pairs, method, draw, given)
    order, last = sorted(method.wanted), parts[-1]
    with torch.no_grad(), _without_statistics(model):
        found = [_look(model, part, method, order, draw, given) for part in parts[:-1]]
    found.append(_look(model, last, method, order, draw, given))
    known = {view: _gathered(view, found, parts, whole, team) for view in order}
    learns = [view for view in order if found[-1][view].requires_grad]
    for view in learns:
        known[view].requires_grad_()
    loss = method.total(Views(model, whole, whole, given.reference, known=known))  # in float32, as its views are
    # what the loss has of the weights besides the embeddings is the same in every process, and counts once
    loss.backward(inputs=None if team.leads else [known[view] for view in learns])
    slopes = {view: slope for view in learns if (slope := known[view].grad) is not None}
    for part in (last, *parts[:-1]):  # the graph of the last part is freed before another one's is made
        again = found.pop() if part is last else _look(model, part, method, [*slopes], draw, given)
        own = [slope[part.at(view).to(model.device)] for view, slope in slopes.items()]
        torch.autograd.backward([again[view] for view in slopes], own)
        del again
    team.share(model)
    return loss.detach()


def _cut(model: Clip, pairs: Pairs, method: Method, draw: Draw, given: Given) -> tuple[Batch, list[Part]]:
    """The whole batch without its pixels, and this process's parts, attacked each beside the captions of all."""
    thin = replace(pairs, images=pairs.images[..., :1, :1])
    whole = pairs_of_step(thin, draw.step, draw.size, draw.seed, draw.captions)
    images = rows_of_step(pairs, draw.step, draw.size, draw.seed)
    own = given.team.rows(draw.size)
    victim = Remembering(model, max(20_000, 16 * len(whole.captions)))  # each part is ranked against the same captions
    parts = []
    count = math.ceil(len(own) / (draw.chunk or len(own)))
    for rows in own.tensor_split(count):  # of nearly one size: a batch norm fails on a single image left over
        texts = torch.isin(whole.owner, rows).nonzero().flatten()
        pixels = pairs.images[images[rows]].float().div_(255)
        clean = replace(whole.take(rows), images=pixels).to(model.device)
        # a new generator each: what a part draws follows its images' ids, as in the whole batch
        rng = generator(draw.seed, 3, draw.step)
        with _precision(model):
            attacked = method.attacked(victim, clean, rng, given.reference)
        parts.append(Part(rows, texts, clean, attacked))
    return whole.to(model.device), parts


def _look(model: Clip, part: Part, method: Method, wanted: Sequence[View], draw: Draw, given: Given) -> Found:
    """The part's embeddings, in either pass the same."""
    views = Views(model, part.clean, part.attacked, given.reference, method.wanted, given.images)
    with _seeded(model, draw, int(part.rows[0])), _precision(model):
        return {view: views(view) for view in wanted}


def _gathered(view: View, found: Sequence[Found], parts: Sequence[Part], whole: Batch, team: Team) -> Tensor:
    """The view of the whole batch, from the parts of all processes."""
    own, at = torch.cat([one[view].detach() for one in found]), torch.cat([part.at(view) for part in parts])
    return team.whole(own, at, len(whole.captions if view.tower == "text" else whole))


def _precision(model: Clip) -> torch.autocast:
    """bf16 on CUDA; entered anew for each pass, since a weight cast without a graph is remembered until it ends."""
    return torch.autocast(model.device.type, torch.bfloat16, enabled=model.device.type == "cuda")


@contextmanager
def _seeded(model: Clip, draw: Draw, part: int) -> Iterator[None]:
    """Dropout draws the same in both passes of a part, and from nothing but (seed, step, part)."""
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(generator(draw.seed, 4, draw.step, part).initial_seed())
        yield


@contextmanager
def _without_statistics(model: Clip) -> Iterator[None]:
    """Batch norms that train still normalize by what they see, and leave their running statistics to the second pass."""
    norms = training_norms(model)
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
