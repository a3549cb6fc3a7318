"""A2: through the whole pipeline, over its random draws and around its flat steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Generator, Tensor

from immunize.attacks import PGD
from immunize.attacks.image.pgd import Point
from immunize.attacks.victim import Judged, Rows, Victim
from immunize.batch import Batch, Signal
from immunize.config import frozen
from immunize.evaluation.adaptive.aware import named, runs
from immunize.evaluation.adaptive.oblivious import chosen
from immunize.evaluation.adaptive.steps import RULES, Mode
from immunize.evaluation.adaptive.system import Purifying, System
from immunize.evaluation.adaptive.target import Seen, Slopes, Target, Watched
from immunize.objectives import Name
from immunize.rng import draw_seed

Backward = Literal["twin", "identity"]


@frozen
class Pipeline:
    """PGD along the mean slope of `samples` draws (EOT, arXiv:1707.07397), each point judged by the majority of `votes`.

    backward: "twin" differentiates the action as `under` gives it; "identity" goes forward through the hard transform and
    back as if it were none (BPDA, arXiv:1802.00420 sec. 4.1): at the purified image where the model says what that is
    (`Purifying`), else at the image itself through the undefended action. Either may fail where the other does not, so both
    are run. modes, weights, actions: as in `Aware`.
    """

    attack: PGD
    samples: Annotated[int, Field(ge=1)] = 16
    votes: Annotated[int, Field(ge=1)] = 4
    backward: tuple[Backward, ...] = ("twin", "identity")
    weights: tuple[float, ...] = (0.0, 1.0)
    modes: tuple[Mode, ...] = ("sum", "selective")
    actions: tuple[str, ...] | None = None
    kind: Literal["pipeline"] = "pipeline"

    def __call__(self, system: System, batch: Batch, rng: Generator) -> dict[str, Batch]:
        seed, found = draw_seed(rng), {}
        with Target.of(system, batch) as target:
            for action in chosen(target.system, self.actions):
                for backward in self.backward:
                    for mode, weight in runs(self.modes, self.weights):
                        victim = Expected(target, action, self.attack.objective, weight, self, backward)
                        best = self.attack.search(victim, seed, rule=RULES[mode])
                        found[f"{action}, {backward}, {named(mode, weight)}"] = victim.finish(batch, best)
        return found


class Expected(Watched):
    """`Watched` on average over the defense's draws; the slopes may come from another way back than the values."""

    def __init__(
        self, target: Target, action: str, objective: Name, weight: float, how: Pipeline, backward: Backward
    ) -> None:
        Watched.__init__(self, target, action, objective, weight)
        self.how = how
        self.back: Victim = self
        self.purified: Callable[[Signal], Signal] = _as_it_is
        if backward == "identity":
            self._around(action, objective)

    def _around(self, action: str, objective: Name) -> None:
        """Sends the slopes back through the model behind the transform or, where there is none to see, the undefended one."""
        model, bank = self.target.system.bare(action), self.bank
        encode = model.encode_image
        if isinstance(model, Purifying):
            encode, self.purified = model.model.encode_image, model.clean
        else:
            first = self.target.system.actions[0]
            encode, bank = self.target.system.under(first).encode_image, self.target.bank(first)
        self.back = Victim(encode, self.clean, bank, self.keys, objective)
        self.back.forwards, self.back.backwards = self.forwards, self.backwards  # one account

    @torch.no_grad()
    def judge(self, x: Signal, rows: Rows) -> Judged:
        x = x.detach()
        draws = [Watched.look(self, x, rows) for _ in range(self.how.votes)]
        mean = Seen(
            task=torch.stack([one.task for one in draws]).mean(dim=0),
            suspicion=torch.stack([one.suspicion for one in draws]).mean(dim=0),
            fooled=_majority([one.fooled for one in draws]),
        )
        self.seen = mean
        return Judged(mean.task - self.weight * mean.suspicion, _majority([self.done(one) for one in draws]))

    def slopes(self, at: Point) -> Slopes:
        """The sums of both slopes over fresh draws, one graph at a time."""
        seen = self.seen
        assert seen is not None, "a rule asks about the point that was judged last"
        task, suspicion = torch.zeros_like(at.x), torch.zeros_like(at.x)
        for _ in range(self.how.samples):
            inner = self._entry(at.x)
            value = Victim.judge(self.back, inner, at.rows).value
            task += self.gradient(value, inner, at.rows)
            x = at.x.detach().requires_grad_()
            suspicion += self.gradient(self._suspicion(x, at.rows), x, at.rows)
        return Slopes(task, suspicion, seen.fooled)

    def slope(self, at: Point) -> Signal:
        task, suspicion, _ = self.slopes(at)
        return task - self.weight * suspicion

    @torch.no_grad()
    def _entry(self, x: Signal) -> Signal:
        """Where the slope is taken: the purified image, or the image."""
        return self.purified(x.detach()).requires_grad_()

    def _suspicion(self, x: Signal, rows: Rows) -> Float[Tensor, " n"]:
        return self.target.suspicion(x, rows).float()


def _majority(draws: list[Tensor]) -> Tensor:
    """Where more than half of the draws say so."""
    return torch.stack(draws).float().mean(dim=0) > 0.5


def _as_it_is(images: Signal) -> Signal:
    return images
