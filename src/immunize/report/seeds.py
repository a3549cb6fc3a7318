"""A study over seeds: each defense's mean and interval, and its difference from another in the same runs.

python -m immunize.report.seeds .cache/sweep/NAME/REVISION [--against mat]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from immunize.metrics.interval import student
from immunize.report.names import HEADLINE, attack_label, defense_label, ordered
from immunize.report.summary import Metrics

WAYS = ("tr_r1", "ir_r1")


def main(arguments: Sequence[str] | None = None) -> None:
    """seeds.md in the folder of the records, printed too; raises SystemExit where it has no two records."""
    parser = argparse.ArgumentParser(
        description="Mean and interval over the trials of a search, which differ in the seed."
    )
    parser.add_argument("folder", type=Path, help=".cache/sweep/NAME/REVISION")
    parser.add_argument("--against", default="mat", help="the defense that the others are compared with")
    chosen = parser.parse_args(arguments)
    runs: list[Metrics] = [json.loads(path.read_text())["metrics"] for path in sorted(chosen.folder.glob("*.json"))]
    if len(runs) < 2:
        parser.error(f"{chosen.folder}: {len(runs)} records; an interval over seeds needs two")
    text = f"{table(runs)}\n{table(runs, chosen.against)}"
    (chosen.folder / "seeds.md").write_text(text)
    print(text)


def table(runs: Sequence[Metrics], against: str | None = None) -> str:
    """Defenses down, attacks across: R@1 `TR / IR`, mean over runs, ± the longer arm of the two 95 % t intervals.

    against: the differences from that defense in place of the values, each taken within a run; bold where neither interval
    holds 0. A defense or an attack that some run lacks is left out.
    """
    defenses = ordered(set.intersection(*(set(run) for run in runs)) - {against})
    attacks = [a for a in HEADLINE if all(a in run[d] for run in runs for d in (*defenses, *filter(None, [against])))]
    head = "Defense" if against is None else f"Points above {defense_label(against)}"
    lines = [f"| {head} | " + " | ".join(map(attack_label, attacks)) + " |", "|:--|" + "--:|" * len(attacks)]
    for defense in defenses:
        cells = [_cell(runs, defense, attack, against) for attack in attacks]
        lines.append(f"| {defense_label(defense)} | " + " | ".join(cells) + " |")
    note = f"R@1 in percent, image → text / text → image; {len(runs)} seeds, 95 % t intervals over them."
    return "\n".join([*lines, "", note, ""])


def _cell(runs: Sequence[Metrics], defense: str, attack: str, against: str | None) -> str:
    """`44.6 / 41.8 ± 1.3`; differences with their sign."""
    columns = [[_value(run, defense, attack, way, against) for run in runs] for way in WAYS]
    means, found = [fmean(column) for column in columns], [student(column) for column in columns]
    arm = max(interval.high - mean for interval, mean in zip(found, means))
    sign = "" if against is None else "+"
    text = " / ".join(f"{mean:{sign}.1f}" for mean in means) + f" ± {arm:.1f}"
    shown = against is not None and all(0 not in one for one in found)
    return f"**{text}**" if shown else text


def _value(run: Metrics, defense: str, attack: str, way: str, against: str | None) -> float:
    return run[defense][attack][way] - (0.0 if against is None else run[against][attack][way])


if __name__ == "__main__":
    main()
