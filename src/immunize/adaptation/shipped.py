"""A fitted policy on disk with all it needs to serve, and at work on live batches: arrays and JSON, nothing unpickled."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from safetensors.numpy import load_file
from safetensors.numpy import save as safe

from immunize.adaptation.contenders.fixed import Always, Mixing
from immunize.adaptation.contenders.hidden_markov import Filter
from immunize.adaptation.contenders.threshold import Rule
from immunize.adaptation.journal import Journal
from immunize.adaptation.network import Network
from immunize.adaptation.observation import Memory, Observer
from immunize.adaptation.policy import Policy
from immunize.adaptation.world import World
from immunize.models import whole

ARRAYS, DESCRIPTION = "policy.safetensors", "policy.json"
OBSERVER = ("scores", "means", "paid", "thresholds", "center", "spread")
Parts = tuple[dict[str, np.ndarray], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Shipped:
    """`policy` chooses among `actions` by the features `names`, as `observer` sums them up."""

    policy: Policy
    observer: Observer
    actions: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, policy: Policy, world: World) -> Shipped:
        return cls(policy, world.observer, world.payoffs.actions, world.payoffs.names)

    def save(self, folder: Path) -> None:
        """policy.safetensors and policy.json, both or neither. Raises TypeError for a policy that learns while serving."""
        arrays, words = _parts(self.policy)
        arrays |= {f"observer.{name}": getattr(self.observer, name) for name in OBSERVER}
        words |= {"kind": type(self.policy).__name__.lower(), "actions": self.actions, "names": self.names}
        content = safe({name: np.ascontiguousarray(value) for name, value in arrays.items()})
        whole.write(folder, {ARRAYS: content, DESCRIPTION: (json.dumps(words, indent=1) + "\n").encode()})

    @classmethod
    def read(cls, folder: Path) -> Shipped:
        """What `save` wrote. Raises FileNotFoundError, or ValueError for a kind that is not known here."""
        if not (folder / DESCRIPTION).exists():
            raise FileNotFoundError(f"{folder} holds no {DESCRIPTION}: is the stage that fits the policy done?")
        words, arrays = json.loads((folder / DESCRIPTION).read_text()), load_file(folder / ARRAYS)
        observer = Observer(**{name: arrays.pop(f"observer.{name}") for name in OBSERVER})
        return cls(_whole(words, arrays, folder), observer, tuple(words["actions"]), tuple(words["names"]))


class Live:
    """A policy at work: `choose` an action for each batch that comes; every choice is in `journal.decisions`.

    Live traffic has no labels, so nothing is learnt here, and no budgets: both shares read full.
    """

    def __init__(self, shipped: Shipped) -> None:
        self.shipped = shipped
        self.journal = Journal(shipped.policy, shipped.observer, shipped.names, shipped.actions)
        self.memory, self.step = Memory(shipped.observer), 0
        self.tail = np.r_[np.zeros(len(shipped.actions)), 1.0, 1.0]
        shipped.policy.begin(0)

    def choose(self, features: Float[np.ndarray, "b f"]) -> int:
        """The place of the action for a batch. Raises ValueError for no pair, or another number of features."""
        if features.ndim != 2 or not len(features) or features.shape[1] != len(self.shipped.names):
            raise ValueError(
                f"features are {features.shape}: pairs, at least one, by {len(self.shipped.names)} features"
            )
        now = self.shipped.observer.now(features)
        observation = np.concatenate([self.memory.see(now), self.tail]).astype(np.float32)
        action = self.shipped.policy.act(observation)
        self.journal(self.step, observation, action)
        self.step += 1
        served = action % len(self.shipped.actions)
        self.tail[: len(self.shipped.actions)] = np.arange(len(self.shipped.actions)) == served
        return served


def _parts(policy: Policy) -> Parts:
    if isinstance(policy, Always):
        return {}, {"action": policy.action}
    if isinstance(policy, Mixing):
        return {"chance": np.diff(policy.whole, prepend=0.0)}, {}
    if isinstance(policy, Rule):
        return {}, {"column": policy.column, "limits": policy.limits, "choices": policy.actions}
    if isinstance(policy, Network):
        layers = {f"{kind}.{i}": layer[k] for i, layer in enumerate(policy.layers) for k, kind in enumerate("wb")}
        return layers, {"bend": policy.bend}
    if isinstance(policy, Filter):
        names = ("columns", "whiten", "mean", "transition", "payoff")
        return {name: getattr(policy, name) for name in names}, {"states": policy.states}
    raise TypeError(f"a {type(policy).__name__} cannot be saved: it learns while it serves, or knows what no one may")


def _whole(words: dict[str, Any], arrays: dict[str, np.ndarray], folder: Path) -> Policy:
    kind = words["kind"]
    if kind == "always":
        return Always(words["action"])
    if kind == "mixing":
        return Mixing(arrays["chance"])
    if kind == "rule":
        low, high = words["limits"]
        a, b, c = words["choices"]
        return Rule(words["column"], (low, high), (a, b, c))
    if kind == "network":
        return Network([(arrays[f"w.{i}"], arrays[f"b.{i}"]) for i in range(len(arrays) // 2)], words["bend"])
    if kind == "filter":
        return Filter(**arrays, states=tuple(words["states"]))  # type: ignore[arg-type]
    raise ValueError(f"{folder / DESCRIPTION}: kind {kind!r} is none of always, mixing, rule, network and filter")
