"""Stage `adaptive`: the adapted model under the attacks that every model gets, and under those that know what it does."""

from __future__ import annotations

import json
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field

from immunize import models
from immunize.adaptation import storage
from immunize.config import frozen, load, preset
from immunize.data.loader import Pairs
from immunize.evaluation.adaptive import AdaptiveAttack, Probe, Static, System, Table, evaluate
from immunize.models.memory import keep_freed
from immunize.stages import evaluate as ordinary

Count = Annotated[int, Field(ge=1)]


@frozen
class Params:
    """`attacks`: name -> attack that knows the system. static: folders below models/<preset> of models without detector or
    choice, under the same attacks. items: test pairs, the first ones. draws: servings of each candidate. probe: the attacks
    on trial; null: not asked."""

    attacks: dict[str, AdaptiveAttack]
    static: dict[str, str] = field(default_factory=dict)
    items: Count = 32
    draws: Count = 1
    block: Count = 32
    probe: Probe | None = None
    seed: int = 0


def main() -> None:
    params = load("adaptive", Params)
    root, reports = Path("models") / preset(), Path("reports") / preset()
    ordinary.main("adapted")
    pairs = Pairs.read(Path("data") / preset() / "collect", "test")
    batch = pairs.batch(torch.arange(min(params.items, len(pairs))), whole=True)
    adapted = storage.load(root / "adapt")
    adapted.afresh = True
    systems: dict[str, System] = {"adapted": adapted}
    systems |= {name: Static(models.load(root / at)) for name, at in params.static.items()}
    found: dict[str, Any] = {"schema": 1, "preset": preset(), "items": len(batch)}
    for name, system in systems.items():
        same = {"seed": params.seed, "block": params.block, "draws": params.draws}
        table = evaluate(system, batch, params.attacks, **same, probe=params.probe)
        table.write(reports / "adaptive" / f"{name}.json")
        print(name, *table.lines(), sep="\n", flush=True)
        found[name] = shares(table)
    (reports / "adaptive" / "summary.json").write_text(
        json.dumps(found, indent=1, sort_keys=True, allow_nan=False) + "\n"
    )


def shares(table: Table) -> dict[str, Any]:
    """The four figures of a table with their intervals, in percent."""
    names = ("right_or_flagged", "robust_accuracy", "clean_accuracy", "false_positives")
    return {
        name: {"percent": share.percent, "low": share.low, "high": share.high}
        for name, share in ((name, getattr(table, name)) for name in names)
    }


if __name__ == "__main__":
    keep_freed()
    main()
