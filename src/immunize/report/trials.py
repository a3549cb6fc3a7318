"""The trials of a search: a ranked table, parallel coordinates, and what is best in one measure for any of the other.

python -m immunize.report.trials .cache/sweep/NAME/REVISION
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes

from immunize.report.theme import HEAT, INK, MUTED, STYLE, canvas, save

Record = dict[str, Any]


def main(folder: Path) -> None:
    """trials.md, parallel.svg and, where there are two measures, pareto.svg, in the folder of the records."""
    records = ranked([json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))])
    (folder / "trials.md").write_text(table(records))
    parallel(records, folder / "parallel.svg")
    if len(records[0]["measures"]) > 1:
        pareto(records, folder / "pareto.svg")
    print(f"{len(records)} trials: {folder / 'trials.md'}")


def ranked(records: Sequence[Record]) -> list[Record]:
    """The highest rung first, and in a rung the highest first measure."""
    return sorted(records, key=lambda record: (-record["rung"], -_values(record)[0], record["name"]))


def table(records: Sequence[Record]) -> str:
    """A row a trial, as ranked; `*` marks the front."""
    points, measures = list(records[0]["point"]), list(records[0]["measures"])
    best = {record["name"] for record in front(records)}
    lines = ["| | " + " | ".join(["trial", *points, "rung", *measures, "seconds"]) + " |"]
    lines.append("|---|---|" + "---|" * len(points) + "--:|" * (len(measures) + 2))
    for record in records:
        cells = [record["name"], *(str(record["point"].get(key, "")) for key in points), str(record["rung"])]
        cells += [f"{value:.2f}" for value in _values(record)] + [f"{record['seconds']:.0f}"]
        lines.append(f"| {'*' if record['name'] in best else ''} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def front(records: Sequence[Record]) -> list[Record]:
    """The trials of the last rung that none of it dominates, in order of the first measure."""
    last = max(record["rung"] for record in records)
    rivals = [record for record in records if record["rung"] == last]
    return [one for one in ranked(rivals) if not any(_dominates(other, one) for other in rivals)]


def parallel(records: Sequence[Record], path: Path) -> None:
    """A line a trial through its parameters and its measures, dark where the first measure is high."""
    keys = [*records[0]["point"], *records[0]["measures"]]
    rows = [{**record["point"], **record["measures"]} for record in records]
    shade = _scale([_values(record)[0] for record in records])
    with rc_context(STYLE):
        figure, (ax,) = canvas(1, 1, (8.6, 3.6))
        heights = [_heights(ax, i, [row[key] for row in rows]) for i, key in enumerate(keys)]
        for n in range(len(rows)):
            color = colormaps["viridis_r"](shade[n])
            ax.plot(range(len(keys)), [column[n] for column in heights], color=color, linewidth=1.6, alpha=0.85)
        ax.set_xticks(range(len(keys)), [key.replace(".", ".\n", key.count(".") // 2) for key in keys], fontsize=7.5)
        ax.set_yticks([])
        ax.grid(visible=False)
    save(figure, path)


def pareto(records: Sequence[Record], path: Path) -> None:
    """The first measure against the second, a point a trial, larger where it took longer; the front joined."""
    upright, across, *_ = records[0]["measures"]
    longest = max(record["seconds"] for record in records) or 1.0
    with rc_context(STYLE):
        figure, (ax,) = canvas(1, 1, (5.2, 4.0))
        best = sorted(front(records), key=lambda record: record["measures"][across])
        x, y = _columns(best, across, upright)
        ax.plot(x, y, color=HEAT, linewidth=1.2)
        x, y = _columns(records, across, upright)
        sizes = [20 + 120 * record["seconds"] / longest for record in records]
        ax.scatter(x, y, s=sizes, color=HEAT, alpha=0.55, linewidths=0, zorder=3)
        for record in best:
            at = record["measures"][across], record["measures"][upright]
            ax.annotate(record["name"], at, (5, 5), textcoords="offset points", fontsize=7, color=INK)
        ax.set_xlabel(across)
        ax.set_title(f"{upright}; size: seconds")
    save(figure, path)


def _heights(ax: Axes, at: int, column: Sequence[Any]) -> list[float]:
    """Each value's place in [0, 1] on its axis, which is drawn with its ends; words and few numbers stand in even steps."""
    distinct = sorted(set(column), key=lambda value: (isinstance(value, str), value))
    even = len(distinct) <= 5 or any(isinstance(value, str) for value in distinct)
    places = [i / max(1, len(distinct) - 1) for i in range(len(distinct))] if even else _scale(distinct)
    ax.axvline(at, color=MUTED, linewidth=0.8)
    for value, place in zip(distinct, places):
        if even or value in (distinct[0], distinct[-1]):
            told = value if isinstance(value, str) else f"{value:.4g}"
            ax.annotate(told, (at, place), (3, 2), textcoords="offset points", fontsize=7, color=INK)
    by_value = dict(zip(distinct, places))
    return [by_value[value] for value in column]


def _scale(values: Sequence[float]) -> list[float]:
    low, high = min(values), max(values)
    return [0.5 if high == low else (value - low) / (high - low) for value in values]


def _columns(records: Sequence[Record], *names: str) -> list[list[float]]:
    return [[record["measures"][name] for record in records] for name in names]


def _values(record: Record) -> list[float]:
    return list(record["measures"].values())


def _dominates(one: Record, other: Record) -> bool:
    mine, theirs = _values(one), _values(other)
    return all(a >= b for a, b in zip(mine, theirs)) and mine != theirs


if __name__ == "__main__":
    main(Path(sys.argv[1]))
