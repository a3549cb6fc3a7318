"""The peer libraries at the budgets of the benchmark: peer(model, x, y) -> x', the model a classifier, frozen.

Each is imported when it is first called: torchattacks and ART live in a folder of their own (`make bench`), as they would
break the environment. adv-lib imports a plotting client at its top, for which an empty module stands in.
"""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Callable, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import torch
from benchmarks.victim import CLASSES, EPS
from torch import Tensor, nn

Peer = Callable[[nn.Module, Tensor, Tensor], Tensor]


def reach(folder: Path) -> None:
    """Make the peers importable that `folder` holds; what they warn of is not ours to mend."""
    sys.path.append(str(folder))
    visdom: Any = types.ModuleType("visdom")
    visdom.__spec__, visdom.Visdom = ModuleSpec("visdom", None), object
    sys.modules.setdefault("visdom", visdom)
    warnings.simplefilter("ignore")


def _torchattacks(name: str, **settings: Any) -> Peer:
    def attack(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        import torchattacks

        return getattr(torchattacks, name)(model, **settings)(x, y)

    return attack


def _foolbox(name: str, eps: float | None, **settings: Any) -> Peer:
    def attack(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        import foolbox

        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device)
        return getattr(foolbox.attacks, name)(**settings)(wrapped, x, y, epsilons=eps)[1]

    return attack


def _art(name: str, shift: int = 0, **settings: Any) -> Peer:
    """`shift`: the target is the label so many classes on."""

    def attack(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        from art.attacks import evasion
        from art.estimators.classification import PyTorchClassifier

        classifier = PyTorchClassifier(
            model, nn.CrossEntropyLoss(), tuple(x.shape[1:]), CLASSES, clip_values=(0, 1), device_type="cpu"
        )
        label = nn.functional.one_hot((y + shift) % CLASSES, CLASSES).numpy()
        return torch.from_numpy(
            getattr(evasion, name)(classifier, verbose=False, **settings).generate(x.numpy(), label)
        )

    return attack


def _pyautoattack(module: str, name: str, **settings: Any) -> Peer:
    def attack(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        from importlib import import_module

        with torch.random.fork_rng():  # it seeds the global generator
            return getattr(import_module(f"pyautoattack.{module}"), name)(model, device="cpu", **settings).perturb(x, y)

    return attack


def _adv_lib(name: str, **settings: Any) -> Peer:
    def attack(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        import adv_lib.attacks

        return getattr(adv_lib.attacks, name)(model, x, y, **settings)

    return attack


def _ascents(eps: float) -> dict[str, dict[str, Peer]]:
    """PGD-10 and APGD-20 in the l_inf ball of that radius."""
    return {
        "PGD": {
            "adv-lib": _adv_lib("pgd_linf", **{"ε": eps}, steps=10, absolute_step_size=eps / 4),
            "torchattacks": _torchattacks("PGD", eps=eps, alpha=eps / 4, steps=10),
            "foolbox": _foolbox("LinfPGD", eps, steps=10, abs_stepsize=eps / 4),
            "ART": _art("ProjectedGradientDescent", eps=eps, eps_step=eps / 4, max_iter=10, num_random_init=1),
        },
        "APGD": {
            "adv-lib": _adv_lib("apgd", eps=eps, norm=float("inf"), n_iter=20, loss_function="ce"),
            "pyautoattack": _pyautoattack("autopgd_base", "APGDAttack", eps=eps, n_iter=20),
            "torchattacks": _torchattacks("APGD", eps=eps, steps=20),
        },
    }


PEERS: Mapping[str, Mapping[str, Peer]] = {
    **_ascents(EPS),
    **{f"{name}, 8/255": peers for name, peers in _ascents(2 * EPS).items()},
    "DeepFool": {
        "adv-lib": _adv_lib("df", steps=50, overshoot=0.02),
        "torchattacks": _torchattacks("DeepFool", steps=50, overshoot=0.02),
        "foolbox": _foolbox("L2DeepFoolAttack", None, steps=50, overshoot=0.02, candidates=CLASSES),
    },
    "C&W": {
        "adv-lib": _adv_lib(
            "carlini_wagner_l2", initial_const=1.0, binary_search_steps=1, max_iterations=50, learning_rate=0.01
        ),
        "torchattacks": _torchattacks("CW", c=1, steps=50, lr=0.01),
        "foolbox": _foolbox("L2CarliniWagnerAttack", None, binary_search_steps=1, steps=50, initial_const=1.0),
    },
    "Square": {
        "pyautoattack": _pyautoattack("square", "SquareAttack", eps=EPS, n_queries=100, p_init=0.8),
        "torchattacks": _torchattacks("Square", eps=EPS, n_queries=100, p_init=0.8),
    },
    "JSMA": {
        "ART": _art("SaliencyMapMethod", shift=1, theta=1.0, gamma=0.001, batch_size=32),
        "torchattacks": _torchattacks("JSMA", theta=1.0, gamma=0.001),
    },
}
