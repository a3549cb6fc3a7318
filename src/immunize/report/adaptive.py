"""The whole system under attacks that know it, beside models without detector or choice."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from immunize.metrics.interval import wilson
from immunize.report.detection import Cell
from immunize.report.names import ordered

COLUMNS = {
    "right_or_flagged": "Right or flagged",
    "robust_accuracy": "Right under attack",
    "clean_accuracy": "Right on clean",
    "false_positives": "Flagged on clean",
}
ATTACKS = {
    "clean": "As it came",
    "oblivious": "Oblivious",
    "aware": "Detector-aware",
    "steering": "Steering the policy",
    "worst": "Worst of all",
}


@dataclass(frozen=True, slots=True)
class Adaptive:
    """shares: system -> a figure of COLUMNS. lost: attack -> system -> `lost`, `wrong` and `unflagged`, with Wilson intervals.

    flags: (system, what speaks against the attacks on it).
    """

    items: int
    shares: dict[str, Cell]
    lost: dict[str, dict[str, Cell]]
    flags: list[tuple[str, dict[str, Any]]]


def read(root: Path, preset: str) -> Adaptive | None:
    """reports/<preset>/adaptive/{summary,<system>}.json; None where the stage adaptive has not run."""
    folder = root / "reports" / preset / "adaptive"
    if not (folder / "summary.json").exists():
        return None
    summary = json.loads((folder / "summary.json").read_text())
    systems = [name for name in reversed(ordered(summary)) if isinstance(summary[name], dict)]
    tables = {name: json.loads((folder / f"{name}.json").read_text()) for name in systems}
    attacks = ordered({attack for table in tables.values() for attack in table["rows"]}, ATTACKS)
    attacks = sorted(attacks, key=lambda attack: attack == "worst")
    return Adaptive(
        items=summary["items"],
        shares={name: _shares(summary[name]) for name in systems},
        lost={
            a: {name: _lost(tables[name]["rows"][a]) for name in systems if a in tables[name]["rows"]} for a in attacks
        },
        flags=[(name, flag) for name in systems for flag in tables[name]["flags"]],
    )


def known_label(name: str) -> str:
    """What a reader calls an attack that knows the system."""
    return ATTACKS.get(name, name.replace("_", " ").capitalize())


def _shares(found: dict[str, dict[str, float]]) -> Cell:
    cell: Cell = {}
    for name in COLUMNS:
        one = found[name]
        cell |= {name: one["percent"], f"{name}_low": one["low"], f"{name}_high": one["high"]}
    return cell


def _lost(row: dict[str, list[bool]]) -> Cell:
    """Lost: wrong and unflagged in the same candidate."""
    cell: Cell = {}
    for name, column in (("lost", "success"), ("wrong", "wrong"), ("unflagged", "unflagged")):
        hits = row[column]
        interval = wilson(sum(hits), len(hits))
        cell |= {name: 100 * sum(hits) / len(hits), f"{name}_low": interval.low, f"{name}_high": interval.high}
    return cell
