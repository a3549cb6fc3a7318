"""Proximal policy optimization by stable-baselines3, of which nothing is left once it has learnt but a few matrices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field

from immunize.adaptation.environment import Defending
from immunize.adaptation.network import Network, arrays
from immunize.adaptation.policy import Policy
from immunize.adaptation.world import World
from immunize.config import frozen

Count = Annotated[int, Field(ge=1)]


@frozen
class Ppo:
    """PPO (arXiv:1707.06347) in `copies` environments; gamma 0 is a contextual bandit, gamma > 0 sees what follows.

    steps: of all copies together. rollout: steps of a copy between updates. entropy: its weight in the loss. It then acts
    without chance, by the most likely action.
    """

    gamma: Annotated[float, Field(ge=0, lt=1)] = 0.95
    steps: Count = 150_000
    copies: Count = 8
    rollout: Count = 256
    batch: Count = 512
    epochs: Count = 6
    lr: Annotated[float, Field(gt=0)] = 1e-3
    entropy: Annotated[float, Field(ge=0)] = 0.005
    hidden: Count = 64
    kind: Literal["ppo"] = "ppo"

    def fit(self, world: World, seed: int) -> Policy:
        """Trained on streams of `world`; global random states are as they were afterwards."""
        from stable_baselines3 import PPO  # a second of imports that nobody else needs
        from stable_baselines3.common.vec_env import DummyVecEnv

        with seeded(seed), torch.enable_grad():
            copies = DummyVecEnv([lambda: Defending(world)] * self.copies)
            copies.seed(seed)
            model = PPO(
                "MlpPolicy",
                copies,
                learning_rate=lambda left: self.lr * max(left, 0.05),
                n_steps=self.rollout,
                batch_size=min(self.batch, self.rollout * self.copies),
                n_epochs=self.epochs,
                gamma=self.gamma,
                ent_coef=self.entropy,
                policy_kwargs={"net_arch": [self.hidden, self.hidden]},
                device="cpu",
            )
            model.learn(self.steps)
        return exported(model.policy)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch's and numpy's global generators from `seed` in here, and back: the library shuffles with numpy's."""
    before = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.set_state(np.random.RandomState(seed).get_state())
        try:
            yield
        finally:
            np.random.set_state(before)


def exported(policy: Any) -> Network:
    """The actor as a `Network`: its hidden layers, tanh, and the logits of the actions."""
    hidden = [layer for layer in policy.mlp_extractor.policy_net if isinstance(layer, torch.nn.Linear)]
    return Network([arrays(layer) for layer in (*hidden, policy.action_net)], "tanh")
