"""What the stages verify, adapt and adaptive leave behind, small and written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TPR = {  # head or baseline -> family -> TPR at 5 %
    "one_class": {"pgd": 40.0, "pgd_half": 30.0, "words": 20.0},
    "perceptron": {"pgd": 95.0, "pgd_half": 91.25, "words": 62.5},
    "msp": {"pgd": 7.0, "pgd_half": 6.0, "words": 5.5},
}
GROUP = {
    "pgd": "train",
    "pgd_half": "seen",
    "words": "unseen",
    "clean": "clean",
    "jpeg_30": "benign",
    "mismatched": "benign",
}
ATTACKED = ("pgd", "pgd_half", "words")
CURVES = {"oracle": [0.0, 0.0], "hindsight": [1.0, 8.0], "best_fixed": [2.0, 11.0], "random": [40.0, 400.0],
          "ppo": [3.0, 40.4], "linear_ucb": [1.0, 4.0]}  # fmt: skip
GAIN = {"oracle": 1.0, "hindsight": 0.6, "best_fixed": 0.5, "random": 0.0, "ppo": 0.7125, "linear_ucb": 0.8}
REGIMES = ("characters", "clean", "<i>image</i>", "square")
ACTIONS = ("robust", "blur")


def interval(low: float, high: float) -> dict[str, float]:
    return {"low": low, "high": high}


def told(tpr5: float) -> dict[str, Any]:
    found = {"auroc": 50 + tpr5 / 2, "tpr5": tpr5, "tpr1": tpr5 / 4}
    return found | {f"{name}_interval": interval(value - 3, value + 2) for name, value in found.items()}


def case(head: str, name: str) -> dict[str, Any]:
    shares = {"0.01": 1.0, "0.05": 4.5 if name == "clean" else 12.0}
    row: dict[str, Any] = {"group": GROUP[name], "pairs": 40}
    row["flagged"] = {alpha: {"share": share, **interval(0.5, 30.0)} for alpha, share in shares.items()}
    if name in ATTACKED:
        row |= {"fooled": 80.0, "caught": None if name == "words" else 75.0, "missed": 20.0}
        row |= {"manipulated": told(TPR[head][name]), "either": told(TPR[head][name] - 5)}
    return row


def detection() -> dict[str, Any]:
    return {
        "head": "perceptron",
        "heads": {head: {name: case(head, name) for name in GROUP} for head in ("perceptron", "one_class")},
        "baselines": {"msp": {name: {"group": GROUP[name], **told(TPR["msp"][name])} for name in ATTACKED}},
        "cost": {"ms": 3.8, "ms_first": 1.2, "passes": 4.0, "passes_first": 2.0, "looked_twice": 33.3},
    }


def contender(name: str, came_up: bool) -> dict[str, Any]:
    figures = dict.fromkeys(("earned", "clean_cost", "worst", "latency", "switches"), 0.25)
    by_regime = dict.fromkeys(REGIMES[:3], GAIN[name]) | {"square": None}
    lag = {"lag": None if name == "ppo" else 4.0, "never": 80.0 if name == "ppo" else 10.0}
    lag = lag if came_up else {"lag": None, "never": None}
    return {
        **figures,
        **lag,
        "gain": GAIN[name],
        "regret": CURVES[name][-1],
        "by_regime": by_regime,
        "curve": CURVES[name],
    }


def version(measure: str, came_up: bool = True) -> dict[str, Any]:
    leads = {
        name: {"mean": GAIN["linear_ucb"] - GAIN[name], **interval(-0.05, 0.2)} for name in GAIN if name != "linear_ucb"
    }
    leads["ppo"] |= interval(0.01, 0.1625)
    contenders = {name: contender(name, came_up) for name in GAIN}
    return {"shipped": "linear_ucb", "measure": measure, "steps": [1, 40], "contenders": contenders, "leads": leads}


def adaptation() -> dict[str, Any]:
    reward = {z: {"robust": -1.0 - n, "blur": -1.5} for n, z in enumerate(REGIMES)}
    table = {"reward": reward, "correct": {z: dict.fromkeys(ACTIONS, 55.5) for z in REGIMES}, "alpha": 0.75}
    table |= {"mismatched": {z: dict.fromkeys(ACTIONS, 0.125) for z in REGIMES}, "latency": dict.fromkeys(ACTIONS, 2.5)}
    versions = {"A": version("gain"), "C": version("earned", came_up=False)}
    return {
        "shipped": "linear_ucb",
        "resting": "robust",
        "held_out": {"square": 0.321},
        "table": table,
        "versions": versions,
    }


def decision(step: int) -> dict[str, Any]:
    belief = {"clean": 1 - step / 40, "characters": 0.0, REGIMES[2]: step / 40}
    reason = f"<b>{REGIMES[2]}</b> is believed with {step} %"
    action = ACTIONS[step >= 20]
    return {
        "step": step,
        "scores": {},
        "flagged": 0.25,
        "belief": belief,
        "action": action,
        "looked": False,
        "reason": reason,
    }


def run(rate: float) -> dict[str, Any]:
    steps = range(40)
    regime = [REGIMES[1] if step < 15 else REGIMES[2] for step in steps]
    return {
        "regime": regime,
        "action": ["robust"] * 40,
        "reward": [1 - rate] * 40,
        "regret": [rate * (s + 1) for s in steps],
    }


def system(wrong: list[bool], unflagged: list[bool]) -> dict[str, Any]:
    nothing = {"wrong": [False] * 4, "unflagged": [True] * 4, "success": [False] * 4}
    success = [a and b for a, b in zip(wrong, unflagged)]
    row = {"wrong": wrong, "unflagged": unflagged, "success": success}
    flag = {"name": "slope_zero", "ok": False, "value": 0.5, "limit": 0.01, "meaning": "share of <zero> slopes"}
    return {"rows": {"worst": row, "steering": row, "clean": nothing}, "flags": [flag, flag | {"ok": True}]}


def shares(right: float) -> dict[str, Any]:
    names = ("right_or_flagged", "robust_accuracy", "clean_accuracy", "false_positives")
    return {name: {"percent": right, **interval(1.0, 99.0)} for name in names}


def write(reports: Path) -> None:
    """verify/, adapt/ and adaptive/ below reports/<preset>."""
    runs = {"shipped": run(0.25), "best_fixed": run(0.5), "hindsight": run(0.375), "oracle": run(0.0)}
    tables = {
        "verify/detection": detection(),
        "adapt/adaptation": adaptation(),
        "adapt/timeline": {"schema": 1, "version": "A", "stream": 10_000, "runs": runs},
        "adaptive/summary": {"items": 4, "preset": "toy", "schema": 1, "adapted": shares(75.0), "robust": shares(50.0)},
        "adaptive/adapted": system([True, True, True, False], [True, False, False, False]),
        "adaptive/robust": system([True, True, False, False], [True] * 4) | {"flags": []},
    }
    for name, table in tables.items():
        path = reports / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(table))
    (reports / "adapt/journal.jsonl").write_text("".join(json.dumps(decision(step)) + "\n" for step in range(40)))
