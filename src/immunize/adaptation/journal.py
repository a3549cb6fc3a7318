"""One record a decision: what was seen, what was believed, what was done and why; JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from immunize.adaptation.contenders.looking import Watching
from immunize.adaptation.environment import Observation
from immunize.adaptation.observation import Observer
from immunize.adaptation.policy import Believing, Policy, Valuing
from immunize.adaptation.world import World


@dataclass(frozen=True, slots=True)
class Decision:
    """scores: batch means as the verifier gives them. flagged: share of the batch above a threshold. belief: by regime,
    empty where the policy has none. looked: it paid for a better look at the next batch."""

    step: int
    scores: dict[str, float]
    flagged: float
    belief: dict[str, float]
    action: str
    looked: bool
    reason: str


class Journal:
    """`journal(step, observation, action)` after each `policy.act`: it can be the `watch` of `playing.play`."""

    def __init__(self, policy: Policy, observer: Observer, names: tuple[str, ...], actions: tuple[str, ...]) -> None:
        self.policy, self.observer, self.names, self.actions = policy, observer, names, actions
        self.decisions: list[Decision] = []

    @classmethod
    def of(cls, world: World, policy: Policy) -> Journal:
        return cls(policy, world.observer, world.payoffs.names, world.payoffs.actions)

    def __call__(self, step: int, observation: Observation, action: int) -> None:
        observer = self.observer
        seen = observation[: observer.free] * observer.spread[: observer.free] + observer.center[: observer.free]
        names = [self.names[i] for i in observer.scores]
        scores = {name: round(float(seen[4 * i]), 6) for i, name in enumerate(names)}
        look, served = divmod(action, len(self.actions))
        inside = self.policy.inside if isinstance(self.policy, Watching) else self.policy
        belief = _belief(inside)
        self.decisions.append(
            Decision(
                step=step,
                scores=scores,
                flagged=round(float(seen[-1]), 6),
                belief=belief,
                action=self.actions[served],
                looked=bool(look),
                reason=_reason(inside, belief, self.actions, served),
            )
        )

    def write(self, path: Path) -> None:
        """One line of JSON a decision."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines(self.decisions)))


def lines(decisions: Iterable[Decision]) -> Iterator[str]:
    """Each decision as a line; a number that is not finite is an error, as no reader of JSON would take it."""
    for decision in decisions:
        yield json.dumps(asdict(decision), allow_nan=False) + "\n"


def read(path: Path) -> list[Decision]:
    """What `write` wrote; raises ValueError with the line that is no decision."""
    decisions = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            decisions.append(Decision(**json.loads(line)))
        except (json.JSONDecodeError, TypeError) as error:
            raise ValueError(f"{path}:{number} is no decision: {error}") from None
    return decisions


def _belief(policy: Policy) -> dict[str, float]:
    """Chance of each regime, the states of one added up."""
    if not isinstance(policy, Believing):
        return {}
    found = dict.fromkeys(policy.states, 0.0)
    for name, chance in zip(policy.states, policy.belief.tolist()):
        found[name] += chance
    return {name: round(chance, 6) for name, chance in found.items()}


def _reason(policy: Policy, belief: dict[str, float], actions: tuple[str, ...], served: int) -> str:
    """Why, in words, from what the policy can show of itself."""
    parts = []
    if belief:
        name = max(belief, key=lambda regime: belief[regime])
        parts.append(f"{name} is believed with {100 * belief[name]:.0f} %")
    if isinstance(policy, Valuing):
        values = np.asarray(policy.values)[: len(actions)]
        order = [int(i) for i in np.argsort(-values) if i != served]
        if order:
            parts.append(
                f"{actions[served]} is valued {values[served]:.2f}, next {actions[order[0]]} {values[order[0]]:.2f}"
            )
    return "; ".join(parts) or f"{type(policy).__name__.lower()}: a rule without values"
