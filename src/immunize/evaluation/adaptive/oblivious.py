"""A0 and transfer: attacks that know nothing of the detector and the choice, crafted on one model and served to the system."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Generator

from immunize.attacks import Attack
from immunize.batch import Batch
from immunize.config import frozen
from immunize.evaluation.adaptive.system import Known, System
from immunize.evaluation.adaptive.target import Target
from immunize.models.dual_encoder import DualEncoder
from immunize.rng import draw_seed


@frozen
class Oblivious:
    """`attack` on `under(a)` for each a of `actions` (None: all), as if that model were served by itself.

    On the undefended action it is what most papers print; on a robust one it is a transfer from there.
    """

    attack: Attack
    actions: tuple[str, ...] | None = None
    kind: Literal["oblivious"] = "oblivious"

    def __call__(self, system: System, batch: Batch, rng: Generator) -> dict[str, Batch]:
        seed = draw_seed(rng)
        with Target.of(system, batch) as target:
            return {
                action: self.attack(target.system.under(action), batch, Generator().manual_seed(seed))
                for action in chosen(target.system, self.actions)
            }


@dataclass(frozen=True, slots=True)
class Transferred:
    """`attack` on a model that is no part of the system; `Transfer` is its like for a model named in a preset."""

    attack: Attack
    source: DualEncoder
    kind: Literal["transferred"] = "transferred"

    def __call__(self, system: System, batch: Batch, rng: Generator) -> dict[str, Batch]:
        with Target.of(system, batch):
            return {"transferred": self.attack(self.source, batch, rng)}


def chosen(system: Known, actions: tuple[str, ...] | None) -> tuple[str, ...]:
    """The actions asked for, or all; the one answer of a system without a choice, so that it can stand beside one that has.

    Raises ValueError for an action that the system has not.
    """
    if actions is None or len(system.actions) == 1:
        return system.actions
    if unknown := sorted(set(actions) - set(system.actions)):
        raise ValueError(f"actions: {', '.join(unknown)} unknown; the system has {', '.join(system.actions)}")
    return actions
