"""An adapted model on disk: adapted.json beside its policy; models and verifier stay where they are, held by sha256."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from immunize import models, verification
from immunize.adaptation.adapted import Adapted
from immunize.adaptation.shipped import Shipped
from immunize.config import dump, parse
from immunize.models import whole
from immunize.serving import Serving

DESCRIPTION, SCHEMA = "adapted.json", 1


@dataclass(frozen=True, slots=True)
class Plan:
    """What each action is, a model's folder and the defense around it; the verifier's folder; the action at rest."""

    actions: Mapping[str, tuple[str, Serving]]
    verifier: str
    resting: str
    batch: int = 32


def save(plan: Plan, shipped: Shipped, folder: Path) -> None:
    """Write the policy, then adapted.json. Raises TypeError for a policy that learns while it serves, or NotWritten."""
    shipped.save(folder)
    held = dict.fromkeys([*(at for at, _ in plan.actions.values()), plan.verifier])
    said = {
        "schema": SCHEMA,
        "actions": {name: {"model": at, "defense": dump(one)} for name, (at, one) in plan.actions.items()},
        "sha256": {at: models.digest(Path(at)) for at in held},
        "verifier": plan.verifier,
        "resting": plan.resting,
        "batch": plan.batch,
    }
    whole.write(folder, {DESCRIPTION: (json.dumps(said, indent=1, sort_keys=True) + "\n").encode()})


def load(folder: Path | str) -> Adapted:
    """The model that `save` wrote. Raises FileNotFoundError where there is none, ValueError where it is of another schema
    or where a model that it serves, or its verifier, is not the one that its policy was learnt on."""
    path = Path(folder) / DESCRIPTION
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: is the stage that makes this model done (`dvc repro adapt`)?")
    said = json.loads(path.read_text())
    if said.get("schema") != SCHEMA:
        raise ValueError(f"{path} has schema {said.get('schema')!r}, this version reads {SCHEMA}; learn it anew")
    for at, digest in said["sha256"].items():
        if models.digest(Path(at)) != digest:
            raise ValueError(f"{path}: the weights in {at} are not those that the policy was learnt on; learn it anew")
    loaded = {at: models.load(at) for at in dict.fromkeys(one["model"] for one in said["actions"].values())}
    parts = {
        name: (parse(one["defense"], Serving, f"{path}: {name}"), loaded[one["model"]])
        for name, one in said["actions"].items()
    }
    defended = {name: defense.around(model) for name, (defense, model) in parts.items()}
    twins = {name: defense.twin().around(model) for name, (defense, model) in parts.items()}
    shipped, verifier = Shipped.read(Path(folder)), verification.load(said["verifier"])
    return Adapted(defended, verifier, shipped, said["resting"], said["batch"], twins)
