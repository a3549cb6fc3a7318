"""An adapted model on disk: model.safetensors and adapted.json; what it serves stays where it is, held by its sha256."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file
from safetensors.numpy import save as safe

from immunize import models
from immunize.adaptation.adapted import Adapted, Manner
from immunize.adaptation.contenders.fixed import Always
from immunize.adaptation.contenders.hidden_markov import Filter
from immunize.adaptation.contenders.threshold import Rule
from immunize.adaptation.network import Network
from immunize.adaptation.observation import Observer
from immunize.adaptation.policy import Policy
from immunize.config import dump, parse
from immunize.models import whole
from immunize.models.storage import WEIGHTS
from immunize.serving import Serving
from immunize.verification import storage as verification

DESCRIPTION, SCHEMA = "adapted.json", 1
POLICIES: dict[str, Callable[..., Policy]] = {
    "always": Always, "rule": Rule, "network": Network, "filter": Filter
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """What each action is: a model (its folder) within a serving-time defense; and the folder of the verifier."""

    actions: Mapping[str, tuple[str, Serving]]
    verifier: str
    resting: str


def save(plan: Plan, manner: Manner, folder: Path) -> None:
    """Write both files or none. Raises TypeError for a policy that learns while it serves: live traffic has no labels."""
    kind = next((name for name, made in POLICIES.items() if type(manner.policy) is made), None)
    if kind is None:
        kinds = ", ".join(POLICIES)
        raise TypeError(
            f"a {type(manner.policy).__name__} learns from labels, which traffic has not; {kinds} can be kept"
        )
    arrays: dict[str, np.ndarray] = {}
    described = {
        "policy": {"kind": kind, **_fields(manner.policy, POLICIES[kind], "policy", arrays)},
        "observer": _fields(manner.observer, Observer, "observer", arrays),
    }
    said = {
        "schema": SCHEMA,
        "actions": {name: {"model": at, "defense": dump(one)} for name, (at, one) in plan.actions.items()},
        "sha256": {at: models.digest(Path(at)) for at, _ in plan.actions.values()},
        "verifier": plan.verifier,
        "resting": plan.resting,
        "names": manner.names,
        "order": manner.actions,
        "batch": manner.batch,
        **described,
    }
    whole.write(
        folder, {WEIGHTS: safe(arrays), DESCRIPTION: (json.dumps(said, indent=1, sort_keys=True) + "\n").encode()}
    )


def load(folder: Path | str) -> Adapted:
    """The model that `save` wrote. Raises FileNotFoundError where there is none, ValueError where it is of another schema
    or where a model that it serves is no longer the one that its policy was learnt on."""
    path = Path(folder) / DESCRIPTION
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: is the stage that makes this model done (`dvc repro adapt`)?")
    said = json.loads(path.read_text())
    if said.get("schema") != SCHEMA:
        raise ValueError(f"{path} has schema {said.get('schema')!r}, this version reads {SCHEMA}; learn it anew")
    for at, digest in said["sha256"].items():
        if models.digest(Path(at)) != digest:
            raise ValueError(f"{path}: the weights in {at} are not those that the policy was learnt on; learn it anew")
    arrays = load_file(path.with_name(WEIGHTS))
    loaded = {at: models.load(at) for at in said["sha256"]}
    defended = {
        name: parse(one["defense"], Serving, f"{path}: {name}").around(loaded[one["model"]])
        for name, one in said["actions"].items()
    }
    kind = said["policy"].pop("kind")
    manner = Manner(
        observer=Observer(**_put(said["observer"], arrays)),
        policy=POLICIES[kind](**_put(said["policy"], arrays)),
        actions=tuple(said["order"]),
        names=tuple(said["names"]),
        batch=said["batch"],
    )
    verifier = verification.load(said["verifier"])
    return Adapted(defended, verifier, manner, said["resting"])


def _fields(value: Any, made: Callable[..., Any], at: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The arguments that make an equal object, which it keeps under their names."""
    return {name: _packed(getattr(value, name), f"{at}.{name}", arrays) for name in signature(made).parameters}


def _packed(value: Any, at: str, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, np.ndarray):
        arrays[at] = np.ascontiguousarray(value)
        return {"array": at}
    if isinstance(value, list | tuple):
        return [_packed(one, f"{at}.{i}", arrays) for i, one in enumerate(value)]
    return value


def _put(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """`_packed` undone; lists come back as tuples."""
    if isinstance(value, dict):
        return arrays[value["array"]] if [*value] == ["array"] else {k: _put(v, arrays) for k, v in value.items()}
    return tuple(_put(one, arrays) for one in value) if isinstance(value, list) else value
