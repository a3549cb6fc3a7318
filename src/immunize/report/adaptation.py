"""Who should choose the defense: the contenders of each version, the payoffs they chose between, the one that is shipped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from immunize.metrics.interval import Interval

CONTENDERS = {
    "oracle": "Oracle",
    "hindsight": "Best fixed in hindsight",
    "best_fixed": "Best fixed",
    "random": "Random",
    "hidden_markov": "Hidden Markov filter",
    "linear_ucb": "LinUCB",
    "discounted": "LinUCB, discounted",
    "exp3_s": "Exp3.S",
    "ppo_0": "PPO, γ = 0",
    "ppo": "PPO",
}
YARDSTICKS = ("oracle", "hindsight", "best_fixed", "random")
VERSIONS = {
    "A": "regimes that switch by themselves",
    "B": "with budgets, paid looks and a price of switching",
    "C": "against an attacker who reacts",
}
COLUMNS = {  # the figure -> its heading and how it is written
    "gain": ("G", "{:.3f}"),
    "earned": ("Earned", "{:.3f}"),
    "regret": ("Regret", "{:.1f}"),
    "lag": ("Lag", "{:.0f}"),
    "never": ("Never, %", "{:.1f}"),
    "clean_cost": ("Clean cost", "{:.3f}"),
    "worst": ("Worst regime", "{:.3f}"),
    "latency": ("ms a pair", "{:.2f}"),
    "switches": ("Switches", "{:.0f}"),
}
CHARTS = {
    "regret": (
        "Regret",
        "What the best action of each batch would have earned beyond the one that was taken, summed so far, mean over test "
        "streams and seeds. A random choice is left out; who regrets far more than the best fixed runs out of the chart.",
    ),
    "timeline": (
        "Decisions",
        "The shipped policy on a stream of test items, from its journal. Filled: how far it believes in each regime; the line "
        "below: the regime that reigned. Rewards are moving averages.",
    ),
}


@dataclass(frozen=True, slots=True)
class Row:
    """A contender: `cells` as text in the order of COLUMNS, G by regime, and the shipped one's lead over it.

    lead: (mean, low, high) in the version's measure; None for the shipped one itself. sure: the interval leaves out 0.
    """

    name: str
    cells: tuple[str, ...]
    by_regime: tuple[str, ...]
    lead: tuple[float, float, float] | None
    sure: bool
    shipped: bool
    yardstick: bool


@dataclass(frozen=True, slots=True)
class Version:
    """measure: `gain` or `earned`, by which the rows stand in order, the highest first."""

    name: str
    measure: str
    shipped: str
    regimes: list[str]
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Adaptation:
    """`found` and `timeline` as the stage wrote them, the journal's decisions, and a table a version."""

    found: dict[str, Any]
    journal: list[dict[str, Any]]
    timeline: dict[str, Any] | None
    versions: list[Version]

    @property
    def regimes(self) -> list[str]:
        """Those of the payoffs: clean first, then those that policies are fitted on, then those held out."""
        held_out = self.found["held_out"]
        return sorted(self.found["table"]["reward"], key=lambda regime: (regime in held_out, regime != "clean", regime))

    @property
    def best(self) -> dict[str, str]:
        """Regime -> the action that earns most there."""
        return {regime: max(row, key=lambda a: row[a]) for regime, row in self.found["table"]["reward"].items()}


def read(root: Path, preset: str) -> Adaptation | None:
    """reports/<preset>/adapt/{adaptation.json,journal.jsonl,timeline.json}; None where the stage adapt has not run."""
    folder = root / "reports" / preset / "adapt"
    if not (folder / "adaptation.json").exists():
        return None
    found = json.loads((folder / "adaptation.json").read_text())
    journal, timeline = folder / "journal.jsonl", folder / "timeline.json"
    return Adaptation(
        found,
        [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else [],
        json.loads(timeline.read_text()) if timeline.exists() else None,
        [_version(name, one) for name, one in sorted(found["versions"].items())],
    )


def contender_label(name: str) -> str:
    return CONTENDERS.get(name, name.replace("_", " ").capitalize())


def _version(name: str, found: Mapping[str, Any]) -> Version:
    contenders, measure = found["contenders"], found["measure"]
    regimes = [
        regime for regime, value in next(iter(contenders.values()))["by_regime"].items() if _came_up(contenders, regime)
    ]
    order = sorted(contenders, key=lambda one: (-_number(contenders[one][measure]), one))
    return Version(name, measure, found["shipped"], regimes, [_row(one, found, regimes) for one in order])


def _row(name: str, found: Mapping[str, Any], regimes: list[str]) -> Row:
    figures, lead = found["contenders"][name], found["leads"].get(name)
    return Row(
        name,
        tuple(_cell(figures, key) for key in COLUMNS),
        tuple(_text(figures["by_regime"][regime], "{:.2f}") for regime in regimes),
        None if lead is None else (lead["mean"], lead["low"], lead["high"]),
        lead is not None and (0 not in Interval(lead["low"], lead["high"])),
        name == found["shipped"],
        name in YARDSTICKS,
    )


def _cell(figures: Mapping[str, Any], key: str) -> str:
    """A median lag that is no number, where there were stays to adapt to, is longer than every stay."""
    if key == "lag" and figures["lag"] is None and figures["never"] is not None:
        return "∞"
    return _text(figures[key], COLUMNS[key][1])


def _came_up(contenders: Mapping[str, Any], regime: str) -> bool:
    return any(one["by_regime"][regime] is not None for one in contenders.values())


def _number(value: float | None) -> float:
    return float("-inf") if value is None else value


def _text(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)
