"""A course steered while training: a bandit over attacks and lambda, rewarded by R on held-out pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field

from immunize.attacks import Attack
from immunize.config import dump, frozen
from immunize.data.loader import Pairs
from immunize.defense.course import Record
from immunize.defense.curriculum import Arm, Choice, Curriculum, Entry, Ucb, arms
from immunize.defense.method import Method
from immunize.defense.sampling import generator, pairs_of_step
from immunize.defense.team import here
from immunize.defense.terms import Consistency, Contrast, Term
from immunize.models import Clip

Count = Annotated[int, Field(ge=1)]
TOLD = ("arm", "gain", "reward")


@frozen
class Steering:
    """Each `every` steps `choice` takes one of `attacks` with one of `weights` (lambda), by what the last choice brought:

    R = -||f(x') - g(t)||^2 - alpha InfoNCE(x', t'), t the true caption, mean over clean pairs and every one of the attacks,
    on `images` validation pairs.
    """

    attacks: Annotated[dict[str, Attack], Field(min_length=1)]
    weights: Annotated[tuple[float, ...], Field(min_length=1)] = (1.0,)
    choice: Choice = Ucb()
    every: Count = 50
    images: Annotated[int, Field(ge=2)] = 64
    alpha: Annotated[float, Field(ge=0)] = 1.0


class Steered:
    """A course steered by a bandit over attacks and lambda, or by one of its controls.

    lambda multiplies the weights of the terms that look at what was attacked, but for consistency's. Raises ValueError in
    several processes, whose rewards would differ by their rounding.
    """

    def __init__(self, steering: Steering, method: Method, held_out: Pairs, seed: int) -> None:
        if here().size > 1:
            raise ValueError("curriculum: rewards are measured in one process; train in one, or without curriculum")
        self.steering, self.method, self.seed = steering, method, seed
        self.batch = pairs_of_step(held_out, 0, min(steering.images, len(held_out)), seed)
        self.reached = np.zeros(0)
        choices = arms([*steering.attacks], steering.weights)
        self.methods = [self._method(arm) for arm in choices]
        self.judges = judges(steering)
        self.curriculum = Curriculum(choices, steering.choice, self._held, steering.every, seed, self._hardness)
        self.model: Clip | None = None

    @property
    def said(self) -> Any:
        return [dump(self.method), dump(self.steering), self.batch.image_ids, self.batch.caption_ids]

    def at(self, step: int, model: Clip, records: Sequence[Record]) -> Method:
        self.model = model
        if not self.curriculum.log:
            first = {(int(one["step"]) - 1) // self.steering.every: one for one in reversed(records)}
            self.curriculum.replay([_entry(k * self.steering.every, first[k]) for k in sorted(first)])
        arm = self.curriculum.at(step)
        return self.methods[self.curriculum.choices.index(arm)]

    def told(self) -> Record:
        """The arm of this stretch by its place, what the stretch before it gained, and R at its beginning."""
        return dict(zip(TOLD, self.curriculum.log[-1][1:]))

    def _method(self, arm: Arm) -> Method:
        outer = tuple(replace(term, weight=term.weight * arm.weight) if _adversarial(term) else term
                      for term in self.method.outer)  # fmt: skip
        return replace(self.method, outer=outer, inner=self.steering.attacks[arm.attack])

    def _held(self) -> Float[np.ndarray, " z"]:
        """R on clean pairs, then under each attack, of the model as it is now."""
        assert self.model is not None
        model, rng = self.model.eval(), (self.seed, 6)
        batch = self.batch.to(model.device)
        with torch.no_grad():
            losses = [judge.loss(model, batch, generator(*rng)) for judge in self.judges]
        self.reached = -torch.stack(losses).double().cpu().numpy()
        return self.reached

    def _hardness(self) -> Float[np.ndarray, " k"]:
        """-R of each arm's attack, as measured for this choice."""
        return np.repeat(-self.reached[1:], len(self.steering.weights))


def judges(steering: Steering) -> list[Method]:
    """The methods whose loss is -R: on clean pairs, and under each attack."""
    clean = Method((Consistency(), Contrast(weight=steering.alpha)))
    terms = (Consistency(image="attacked"), Contrast(image="attacked", text="attacked", weight=steering.alpha))
    return [clean, *(Method(terms, inner=attack) for attack in steering.attacks.values())]


def _entry(step: int, record: Record) -> Entry:
    arm, gain, reward = (record[name] for name in TOLD)
    return step, int(arm), gain, reward


def _adversarial(term: Term) -> bool:
    return any(view.of == "attacked" for view in term.looks) and not isinstance(term, Consistency)
