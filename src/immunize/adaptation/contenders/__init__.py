"""Who plays: each a frozen configuration, `fit(world, seed)` -> a policy; yardsticks that know the regime among them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from immunize.adaptation.contenders.fixed import BestFixed, Fixed, Maximin, Random, Uniform, maximin
from immunize.adaptation.contenders.hidden_markov import HiddenMarkov
from immunize.adaptation.contenders.knowing import Hindsight, Oracle
from immunize.adaptation.contenders.looking import Looking
from immunize.adaptation.contenders.online import LinearUcb, Shifting, Thompson
from immunize.adaptation.contenders.supervised import Perceptron, Ridge
from immunize.adaptation.contenders.threshold import Threshold
from immunize.adaptation.policy import Believing, Contender, Knowing, Policy, Valuing
from immunize.adaptation.ppo import Ppo

AnyContender = Annotated[
    Random | Uniform | Fixed | BestFixed | Hindsight | Maximin | Threshold | Ridge | Perceptron | HiddenMarkov | LinearUcb
    | Thompson | Shifting | Ppo | Oracle,
    Field(discriminator="kind"),
]  # fmt: skip

__all__ = [
    "AnyContender", "Believing", "BestFixed", "Contender", "Fixed", "HiddenMarkov", "Hindsight", "Knowing", "LinearUcb",
    "Looking", "Maximin", "Oracle", "Perceptron", "Policy", "Ppo", "Random", "Ridge", "Shifting", "Thompson", "Threshold",
    "Uniform", "Valuing", "field", "maximin",
]  # fmt: skip


def field(actions: tuple[str, ...]) -> dict[str, Contender]:
    """All contenders at their defaults but PPO, which takes minutes, by the names that tables print."""
    return {
        "random": Random(),
        "uniform": Uniform(),
        **{f"fixed {name}": Fixed(name) for name in actions},
        "best fixed": BestFixed(),
        "best fixed in hindsight": Hindsight(),
        "maximin mixture": Maximin(),
        "threshold rule": Threshold(),
        "ridge": Ridge(),
        "ridge, no memory": Ridge(memory=False),
        "perceptron": Perceptron(),
        "hidden Markov": HiddenMarkov(),
        "LinUCB": LinearUcb(),
        "LinUCB, discounted": LinearUcb(discount=0.995),
        "linear Thompson": Thompson(),
        "Exp3.S": Shifting(),
        "oracle": Oracle(),
    }
