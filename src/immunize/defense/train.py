"""The one training loop: every method, pretraining included, is a `Method` run through it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from immunize.config import frozen
from immunize.data.loader import Pairs
from immunize.defense import checkpoint
from immunize.defense.averaging import Running
from immunize.defense.compiled import compiled
from immunize.defense.course import Course, Record, Steady
from immunize.defense.features import Features
from immunize.defense.method import Method
from immunize.defense.parts import Draw, Given, backward
from immunize.defense.sampling import generator, pairs_of_step
from immunize.defense.team import here
from immunize.defense.trainable import learning
from immunize.models import Clip
from immunize.models.blending import blend, frozen_copy


@frozen
class Training:
    """How long and how fast: AdamW, linear warm-up, cosine to 0; the gradient's norm is clipped; bf16 where CUDA is.

    captions: how many of an image a step sees. ramp: steps over which the radius of the inner attack grows from 0. average:
    the decay of the running mean of the weights that is kept in place of the last ones (0: none). blend: the share of the
    trained weights in the result, the rest being those of the start (WiSE-FT, arXiv:2109.01903). chunk: images whose graph
    is in memory at once, the loss and its gradient being those of the whole batch (`defense.parts`; null: all).
    compile: the vision tower behind torch.compile.
    """

    steps: Annotated[int, Field(ge=0)]
    batch: Annotated[int, Field(ge=2)] = 128
    lr: Annotated[float, Field(gt=0)] = 5e-4
    weight_decay: float = 0.05
    warmup: Annotated[int, Field(ge=0)] = 20
    clip: Annotated[float, Field(gt=0)] = 1.0
    log: Annotated[int, Field(ge=1)] = 10
    checkpoint: Annotated[int, Field(ge=1)] = 50
    seed: int = 0
    captions: Annotated[int, Field(ge=1)] = 1
    ramp: Annotated[int, Field(ge=0)] = 0
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0
    blend: Annotated[float, Field(ge=0, le=1)] = 1.0
    chunk: Annotated[int, Field(ge=1)] | None = None
    compile: bool = False

    def __post_init__(self) -> None:
        if self.checkpoint % self.log:
            raise ValueError(f"checkpoint: must be a multiple of log ({self.log}), so that records survive a kill")

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.lr * 0.5 * (1 + math.cos(math.pi * done))

    def width(self, step: int) -> float:
        """The share of its own radius that the inner attack has at a step, counted from 0."""
        return min(1.0, (step + 1) / self.ramp) if self.ramp else 1.0


class Diverged(RuntimeError):
    """The loss or a weight is no longer finite; the message names the step and the last good checkpoint, which is kept."""


def train(model: Clip, pairs: Pairs, method: Method | Course, training: Training, folder: Path) -> Iterator[Record]:
    """Train in place, yielding {step, loss, gradient, lr} every `training.log` steps; goes on from `folder` if it can.

    A course may change the method from step to step, and adds to the records what it has to remember. Equal arguments
    give equal weights, whether or not the run was interrupted. Several processes (`defense.team`) share each step. Raises
    Diverged on a loss or a weight that is not finite; `folder` then still holds the last good state.
    """
    team, course = here(), method if isinstance(method, Course) else Steady(method)
    method = course.method
    first = frozen_copy(model) if method.needs_reference or training.blend < 1 else None
    with learning(model, method.trains) as parameters, compiled(model, training.compile):
        optimizer = torch.optim.AdamW(_decayed(parameters, training.weight_decay), lr=training.lr, fused=True)
        running = Running(model, training.average) if training.average else None
        with team.leader_first():  # a corrupt state is put aside once, before the others look
            done, records = checkpoint.resume(folder, model, optimizer, running)
        team.agree(done, folder)
        yield from records
        losses: list[torch.Tensor] = []
        images = None
        if method.repeats_features(model) and done < training.steps:
            images = Features(model, pairs)
            pairs = replace(pairs, images=pairs.images[..., :1, :1])  # nobody looks at pixels any more
        for step in range(done, training.steps):
            losses.append(
                _step(
                    model, pairs, course.at(step, model, records), training, optimizer, step, Given(first, images, team)
                )
            )
            if running is not None:
                running.update(model, step)
            last = step + 1 == training.steps
            if (step + 1) % training.log == 0 or last:
                records.append(_record(step + 1, losses, training, folder, model) | course.told())
                losses = []
                yield records[-1]
            if (step + 1) % training.checkpoint == 0 and not last and team.leads:
                checkpoint.save(folder, step + 1, model, optimizer, records, running)
        if running is not None:
            model.load_state_dict(running.state)
    if first is not None and training.blend < 1 and training.steps:
        blend(model, first, training.blend)


def _step(
    model: Clip,
    pairs: Pairs,
    method: Method,
    training: Training,
    optimizer: torch.optim.Optimizer,
    step: int,
    given: Given,
) -> torch.Tensor:
    """One update."""
    for group in optimizer.param_groups:
        group["lr"] = training.rate(step)
    model.train()
    method = method.within(training.width(step))
    # the model's own would look at what does not learn too, which takes milliseconds
    optimizer.zero_grad(set_to_none=True)
    if given.team.size > 1 or training.chunk is not None:
        draw = Draw(step, training.batch, training.seed, training.captions, training.chunk)
        loss = backward(model, pairs, method, draw, given)
    else:
        batch = pairs_of_step(pairs, step, training.batch, training.seed, training.captions).to(model.device)
        with torch.autocast(model.device.type, torch.bfloat16, enabled=model.device.type == "cuda"):
            loss = method.loss(model, batch, generator(training.seed, 3, step), given.reference, given.images)
        loss.backward()
    learnt = [p for group in optimizer.param_groups for p in group["params"]]
    norm = nn.utils.clip_grad_norm_(learnt, training.clip)
    optimizer.step()
    return torch.stack([loss.detach().float(), norm.float()])


def _record(step: int, losses: list[torch.Tensor], training: Training, folder: Path, model: Clip) -> Record:
    values = torch.stack(losses)
    size = nn.utils.get_total_norm([w.detach() for w in model.parameters()])  # no loss yet tells on the last update
    broken = ~torch.cat([values.isfinite().all(dim=1), size.isfinite()[None]])
    if broken.any():
        first = min(step, step - len(losses) + int(broken.nonzero()[0]) + 1)
        kept = folder / checkpoint.STATE
        raise Diverged(
            f"the loss or a weight is not finite at step {first}: "
            f"lower `lr` (now {training.lr}) or `clip` (now {training.clip}). "
            + (f"The last good state is kept in {kept}" if kept.exists() else "No checkpoint had been written yet")
        )
    loss, norm = values.mean(dim=0).tolist()
    return {"step": step, "loss": round(loss, 6), "gradient": round(norm, 6), "lr": training.rate(step - 1)}


def _decayed(parameters: list[nn.Parameter], decay: float) -> list[dict]:
    """Weight decay on matrices alone: not on biases, norms or the temperature."""
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
