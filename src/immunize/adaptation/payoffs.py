"""What each action would have earned on each item under each regime: computed once, after which all is indexing."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from math import inf, isinf
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from safetensors.numpy import load_file
from safetensors.numpy import save as safe

from immunize.models import whole

ARRAYS, DESCRIPTION = "payoffs.safetensors", "payoffs.json"
SHAPES = {
    "consistency": "n z a", "received": "n z a", "adversarial": "n z a", "correct": "n z a",
    "mismatched": "z a", "latency": "a", "features": "n z f",
}  # fmt: skip
ABSTAIN = "abstain"
Table = Float[np.ndarray, "z a"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Payoffs:
    """reward[item, regime, action] = -(consistency + alpha * adversarial), the caption being the true one.

    consistency: ||f_vis - f_txt||^2 after the action, the image as received; `received`: the same with the caption as
    received. adversarial: InfoNCE of the pair in nats, clipped. correct: share of the answers that are right, 0 to 1.
    mismatched: mean cosine of pairs that do not belong together. latency: ms a pair. Raises ValueError that names the
    array for what is not finite, has another shape than the names say, or repeats a name.
    """

    consistency: Float[np.ndarray, "n z a"]
    received: Float[np.ndarray, "n z a"]
    adversarial: Float[np.ndarray, "n z a"]
    correct: Float[np.ndarray, "n z a"]
    mismatched: Float[np.ndarray, "z a"]
    latency: Float[np.ndarray, " a"]
    features: Float[np.ndarray, "n z f"]
    regimes: tuple[str, ...]
    actions: tuple[str, ...]
    names: tuple[str, ...]
    alpha: float

    def __post_init__(self) -> None:
        sizes = {"n": len(self.consistency), "z": len(self.regimes), "a": len(self.actions), "f": len(self.names)}
        for kind in ("regimes", "actions", "names"):
            if len(set(getattr(self, kind))) < len(getattr(self, kind)) or not getattr(self, kind):
                raise ValueError(f"payoffs: {kind} must be there, each once: {getattr(self, kind)}")
        for name, axes in SHAPES.items():
            array, wanted = getattr(self, name), tuple(sizes[axis] for axis in axes.split())
            if array.shape != wanted:
                raise ValueError(f"payoffs: {name} has shape {array.shape}, and items and names ask for {wanted}")
            if not np.isfinite(array).all():
                where = [int(i) for i in np.argwhere(~np.isfinite(array))[0]]
                raise ValueError(f"payoffs: {name} is not finite, first at {where} of [{axes}]; look at what made it")
        if not sizes["n"]:
            raise ValueError("payoffs: there is no item")
        if not self.alpha >= 0:
            raise ValueError(f"payoffs: alpha is {self.alpha}; it weighs a loss and is at least 0")

    def __len__(self) -> int:
        return len(self.consistency)

    @property
    def reward(self) -> Float[np.ndarray, "n z a"]:
        """R_true = -||f_vis - f_txt||^2 - alpha L_adversarial; at alpha = inf, -L_adversarial."""
        return self._weigh(self.consistency)

    @property
    def literal(self) -> Float[np.ndarray, "n z a"]:
        """R with the caption as received: what could be computed on live traffic, and what an attacker can raise."""
        return self._weigh(self.received)

    @property
    def table(self) -> Table:
        """Mean reward of each action under each regime: the payoffs without noise."""
        return self.reward.mean(axis=0)

    def weighed(self, alpha: float) -> Payoffs:
        """The same with another alpha: 0 is the consistency alone, inf the adversarial loss alone."""
        return replace(self, alpha=alpha)

    def take(self, rows: Int[np.ndarray, " r"]) -> Payoffs:
        """Items `rows`: training and test must not share one."""
        per_item = [name for name, axes in SHAPES.items() if axes.startswith("n")]
        return self._with({name: getattr(self, name)[rows] for name in per_item})

    def under(self, regimes: tuple[str, ...]) -> Payoffs:
        """The regimes named, in that order. Raises ValueError for one that is not here."""
        if unknown := [name for name in regimes if name not in self.regimes]:
            raise ValueError(f"payoffs: no regime {unknown}; here are {list(self.regimes)}")
        rows = [self.regimes.index(name) for name in regimes]
        arrays = {name: getattr(self, name) for name in SHAPES}
        picked = {
            n: v[:, rows] if SHAPES[n].startswith("n") else v[rows] for n, v in arrays.items() if "z" in SHAPES[n]
        }
        return self._with({"regimes": regimes, **picked})

    def abstaining(self, pay: float) -> Payoffs:
        """With a further action that answers nothing and earns `pay` at the alpha at hand: choose alpha before."""
        loss = np.full((*self.consistency.shape[:2], 1), -pay, dtype=self.consistency.dtype)
        none, cut = np.zeros_like(loss), np.zeros_like(self.mismatched[:, :1])
        more = {
            "consistency": none if isinf(self.alpha) else loss,
            "received": none if isinf(self.alpha) else loss,
            "adversarial": loss if isinf(self.alpha) else none,
            "correct": none,
            "mismatched": cut,
            "latency": np.zeros_like(self.latency[:1]),
        }
        joined = {name: np.concatenate([getattr(self, name), value], axis=-1) for name, value in more.items()}
        return self._with({"actions": (*self.actions, ABSTAIN), **joined})

    def permuted(self, rng: np.random.Generator) -> Payoffs:
        """Each item's payoffs dealt to its actions at random: nothing is left that a context could tell about them."""
        order = rng.permuted(np.broadcast_to(np.arange(len(self.actions)), self.consistency.shape), axis=-1)
        shuffled = ("consistency", "received", "adversarial", "correct")
        return self._with({name: np.take_along_axis(getattr(self, name), order, -1) for name in shuffled})

    def save(self, folder: Path) -> None:
        """payoffs.safetensors and payoffs.json, both or neither; raises NotWritten."""
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in SHAPES}
        alpha = "inf" if isinf(self.alpha) else self.alpha
        words = {"regimes": self.regimes, "actions": self.actions, "names": self.names, "alpha": alpha}
        whole.write(folder, {ARRAYS: safe(arrays), DESCRIPTION: (json.dumps(words, indent=1) + "\n").encode()})

    @classmethod
    def read(cls, folder: Path) -> Payoffs:
        """What `save` wrote; raises FileNotFoundError, and ValueError where an array is missing or does not fit."""
        if not (folder / DESCRIPTION).exists():
            raise FileNotFoundError(f"{folder} holds no {DESCRIPTION}: is the stage that fills the payoffs done?")
        words = json.loads((folder / DESCRIPTION).read_text())
        arrays = load_file(folder / ARRAYS)
        if missing := sorted(set(SHAPES) - set(arrays)):
            raise ValueError(f"{folder / ARRAYS}: {missing} are missing")
        lists: dict[str, Any] = {name: tuple(words[name]) for name in ("regimes", "actions", "names")}
        return cls(**{name: arrays[name] for name in SHAPES} | lists | {"alpha": float(words["alpha"])})

    def _with(self, changes: dict[str, Any]) -> Payoffs:
        return replace(self, **changes)

    def _weigh(self, consistency: Float[np.ndarray, "n z a"]) -> Float[np.ndarray, "n z a"]:
        return -self.adversarial if isinf(self.alpha) else -(consistency + self.alpha * self.adversarial)


@dataclass(frozen=True, slots=True)
class Scale:
    """(R - origin) / unit: 0 is a random action's mean reward, 1 what the best action has before it, on average.

    One affine map for all items, regimes and actions, so it changes no choice; costs are then in parts of the headroom.
    """

    origin: float
    unit: float

    @classmethod
    def of(cls, payoffs: Payoffs) -> Scale:
        """Raises ValueError where every action earns the same in every regime: there is nothing to choose."""
        table = payoffs.table
        unit = float((table.max(axis=1) - table.mean(axis=1)).mean())
        if unit <= 1e-9:
            raise ValueError("payoffs: every action earns the same in every regime, so there is nothing to learn")
        return cls(float(table.mean()), unit)

    def __call__(self, reward: np.ndarray) -> np.ndarray:
        return (reward - self.origin) / self.unit


def weight(consistency: Float[np.ndarray, "n z a"], adversarial: Float[np.ndarray, "n z a"]) -> float:
    """alpha = sd(consistency) / sd(adversarial): both terms then move the reward alike; inf where the consistency is all."""
    spread = float(adversarial.std())
    return float(consistency.std()) / spread if spread else inf
