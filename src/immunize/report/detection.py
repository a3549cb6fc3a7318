"""What the verifier finds: each attack family under each head and each baseline, and what it flags where nobody attacked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from immunize.report.names import ATTACKS, ordered

Cell = dict[str, float]  # a measure -> percent, with `_low` and `_high` of its 95 % interval
MEASURES = {"auroc": "AUROC", "tpr5": "TPR at 5\u00a0%", "tpr1": "TPR at 1\u00a0%"}
DETECTORS = {
    "one_class": "One class",
    "logistic": "Logistic",
    "perceptron": "Perceptron",
    "msp": "MSP",
    "cosine": "Cosine",
    "knn": "kNN",
    "mahalanobis": "Mahalanobis",
}
GROUPS = {
    "train": "Learned from",
    "seen": "Seen at another budget",
    "unseen": "Never seen",
    "aware": "Knows the verifier",
}
CASES = {
    "clean": "Clean",
    "noise": "Noise",
    "jpeg": "JPEG",
    "human_typos": "Human typos",
    "mismatched": "Natural mismatch",
    "confusable": "Confusable mismatch",
}
CHARTS = {
    "detection": (
        "Attacks found at 5 % false positives",
        "Share of the attacked pairs whose manipulated score is above that of 95 % of clean pairs, with 95 % bootstrap "
        "intervals over images; families that no head learned from stand apart. Gray: single features, nothing fitted.",
    )
}


@dataclass(frozen=True, slots=True)
class Detection:
    """families: group -> attack families. harmless: clean, benign shifts and pairs that do not belong together.

    scores: `manipulated` (that score alone) and `either` (what the verdict rests on) -> head -> family -> cell; baselines
    likewise. flagged: head -> case -> cell with one measure an alpha. served: the head that is saved; outcomes: family ->
    pairs, and percent that fooled the model, was caught (None: nothing fooled it) and was missed.
    """

    served: str
    families: dict[str, list[str]]
    harmless: list[str]
    alphas: list[str]
    scores: dict[str, dict[str, dict[str, Cell]]]
    baselines: dict[str, dict[str, Cell]]
    flagged: dict[str, dict[str, Cell]]
    outcomes: dict[str, dict[str, Any]]
    cost: dict[str, float]

    def range(self, *groups: str) -> tuple[float, float] | None:
        """The lowest and the highest TPR at 5 % of the head that is saved; None without such a family."""
        cells = self.scores["manipulated"][self.served]
        found = [cells[family]["tpr5"] for group in groups for family in self.families.get(group, ())]
        return (min(found), max(found)) if found else None


def read(root: Path, preset: str) -> Detection | None:
    """reports/<preset>/verify/detection.json; None where the stage verify has not run."""
    path = root / "reports" / preset / "verify" / "detection.json"
    if not path.exists():
        return None
    found = json.loads(path.read_text())
    heads = {name: found["heads"][name] for name in ordered(found["heads"], DETECTORS)}
    cases: dict[str, Any] = heads[found["head"]]
    families = {group: [a for a in ordered(cases, ATTACKS) if cases[a]["group"] == group] for group in GROUPS}
    attacked = [family for names in families.values() for family in names]
    return Detection(
        served=found["head"],
        families={group: names for group, names in families.items() if names},
        harmless=[case for case in ordered(cases, CASES) if case not in attacked],
        alphas=sorted(cases["clean"]["flagged"], key=float, reverse=True),
        scores={
            score: {head: {a: _cell(table[a][score]) for a in attacked} for head, table in heads.items()}
            for score in ("manipulated", "either")
        },
        baselines={
            name: {a: _cell(found["baselines"][name][a]) for a in attacked}
            for name in ordered(found["baselines"], DETECTORS)
        },
        flagged={head: {case: _shares(row["flagged"]) for case, row in table.items()} for head, table in heads.items()},
        outcomes={a: {key: cases[a][key] for key in ("pairs", "fooled", "caught", "missed")} for a in attacked},
        cost=found["cost"],
    )


def detector_label(name: str) -> str:
    return DETECTORS.get(name, name.replace("_", " "))


def case_label(name: str) -> str:
    """`noise_4` -> `Noise 4/255`, `jpeg_30` -> `JPEG 30`."""
    kind, _, size = name.partition("_")
    if kind in ("noise", "jpeg") and size:
        return f"{CASES[kind]} {size}{'/255' if kind == 'noise' else ''}"
    return CASES.get(name, name.replace("_", " "))


def _cell(told: Mapping[str, Any]) -> Cell:
    cell: Cell = {}
    for name in MEASURES:
        interval = told[f"{name}_interval"]
        cell |= {name: told[name], f"{name}_low": interval["low"], f"{name}_high": interval["high"]}
    return cell


def _shares(flagged: Mapping[str, Mapping[str, float]]) -> Cell:
    cell: Cell = {}
    for alpha, one in flagged.items():
        cell |= {alpha: one["share"], f"{alpha}_low": one["low"], f"{alpha}_high": one["high"]}
    return cell
