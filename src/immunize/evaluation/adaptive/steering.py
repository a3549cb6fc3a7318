"""A3: for each action an input that the policy answers with that action, and that fools it there."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Generator, Tensor

from immunize.attacks import PGD
from immunize.attacks.image.pgd import Point
from immunize.attacks.victim import Judged, Rows
from immunize.batch import Batch, Signal
from immunize.config import frozen
from immunize.evaluation.adaptive.oblivious import chosen
from immunize.evaluation.adaptive.steps import RULES, unit, without
from immunize.evaluation.adaptive.system import Steerable, System
from immunize.evaluation.adaptive.target import Answer, Target, Watched
from immunize.objectives import Name
from immunize.rng import draw_seed


@frozen
class Steering:
    """For each action a: unit(d task_a) - weight * unit(d suspicion) + pull * unit(d lead of a), each weight once.

    A point counts where the system, as served, takes action a and errs unflagged; every iterate is served, so that a policy
    without a slope is steered through the suspicion that it goes by, up (weight < 0) and down. pull: where the policy is
    `Steerable`, the weight of the lead of a, its preference less that of the best other action; where a is fooled and not
    taken yet, only what of that slope leaves the task as it is. One candidate for each action and weight; their union is
    what a policy that must choose can be led into.
    """

    attack: PGD
    weights: tuple[float, ...] = (-1.0, 0.0, 1.0)
    pull: Annotated[float, Field(ge=0)] = 1.0
    actions: tuple[str, ...] | None = None
    kind: Literal["steering"] = "steering"

    def __call__(self, system: System, batch: Batch, rng: Generator) -> dict[str, Batch]:
        seed, found = draw_seed(rng), {}
        with Target.of(system, batch) as target:
            for action in chosen(target.system, self.actions):
                for weight in self.weights:
                    victim = Steered(target, action, self.attack.objective, weight, self.pull)
                    best = self.attack.search(victim, seed, rule=RULES["sum"])
                    found[f"{action}, {weight:g}"] = victim.finish(batch, best)
        return found


@frozen
class Company:
    """A share of the batch moved so that the policy takes an action that fails for the *others*, which stay as they are.

    share: of the pairs, the first ones, that are the attacker's (data poisoning of a batch's statistics: DIA,
    arXiv:2301.12576). It goes up the preference for each action or, where the policy is not `Steerable`, up and down the
    suspicion. A policy that looks at each pair by itself cannot be led so: the candidates are then worth what clean data is.
    """

    attack: PGD
    share: Annotated[float, Field(gt=0, lt=1)] = 0.25
    actions: tuple[str, ...] | None = None
    kind: Literal["company"] = "company"

    def __call__(self, system: System, batch: Batch, rng: Generator) -> dict[str, Batch]:
        seed, found = draw_seed(rng), {}
        with Target.of(system, batch) as target:
            steerable = isinstance(target.system.system, Steerable)
            count = max(1, round(self.share * len(batch)))
            for action in chosen(target.system, self.actions) if steerable else target.system.actions[:1]:
                for weight in (0.0,) if steerable else (-1.0, 1.0):
                    victim = Steered(target, action, self.attack.objective, weight, pull=1.0, task=0.0)
                    moved = victim.finish(batch, self.attack.search(victim, seed, rule=RULES["sum"]))
                    moved.images[count:] = batch.images[count:]
                    found[action if steerable else f"suspicion {'up' if weight < 0 else 'down'}"] = moved
        return found


class Steered(Watched):
    """`Watched` with the policy in it: done where the system, as served, takes this action and errs unflagged."""

    def __init__(
        self, target: Target, action: str, objective: Name, weight: float, pull: float, task: float = 1.0
    ) -> None:
        Watched.__init__(self, target, action, objective, weight)
        policy = target.system.system
        self.policy = policy if isinstance(policy, Steerable) and pull else None
        self.pull, self.task = pull, task
        self.index = target.system.actions.index(action)
        self.lead: Float[Tensor, " n"] | None = None

    def judge(self, x: Signal, rows: Rows) -> Judged:
        seen = self.look(x, rows)
        value = self.task * seen.task - self.weight * seen.suspicion
        if self.policy is not None and len(rows):
            self.lead = self._lead(self.policy.preference(x, self.target.captions(rows)).float())
            value = value + self.pull * self.lead
        return Judged(value, self._led(self.target.serve(x.detach(), rows)) if len(rows) else seen.fooled)

    def slope(self, at: Point) -> Signal:
        """The slopes with the weights, each of its own size: none is lost beside a larger one."""
        slopes, lead = self.slopes(at), self.lead
        task = self.task * unit(slopes.task)
        direction = task - self.weight * unit(slopes.suspicion)
        if lead is None:
            return direction
        pull = unit(self.gradient(lead, at.x, at.rows))
        turn = (slopes.fooled & (lead < 0)).view(-1, *[1] * (at.x.dim() - 1))
        return torch.where(turn, without(pull, task), direction + self.pull * pull)

    def _lead(self, preference: Float[Tensor, "n a"]) -> Float[Tensor, " n"]:
        """How far this action is preferred to the best of the others; at most 0, for won is won."""
        mine = preference[:, self.index]
        others = preference.clone()
        others[:, self.index] = -torch.inf
        rival = others.amax(dim=1)
        return (mine - torch.where(rival.isinf(), mine, rival)).clamp(max=0)

    def _led(self, answer: Answer) -> Bool[Tensor, " n"]:
        return answer.success & (answer.action == self.index)
