"""What each augmentation is worth: alignment, diversity and gap as measured, beside the robustness that came of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from immunize.report.summary import Metrics

Number = float | None
COLUMNS = {  # the measure -> its heading and how it is written
    "original": ("Original pairs, %", "{:.0f}"),
    "alignment": ("Alignment", "{:.3f}"),
    "exact_alignment": ("True captions, %", "{:.1f}"),
    "text_diversity": ("Text diversity", "{:.3f}"),
    "image_diversity": ("Image diversity", "{:.3f}"),
    "distinct_2": ("Distinct-2", "{:.2f}"),
    "text_gap": ("Text gap", "{:.4f}"),
    "image_gap": ("Image gap", "{:.4f}"),
}
PREFIX, BASELINE = "mat_plus_", "mat"


@dataclass(frozen=True, slots=True)
class Row:
    """One augmentation: its measures as text in the order of COLUMNS, and R@1 under joint attack of MAT trained on it."""

    name: str
    measures: tuple[str, ...]
    joint: tuple[Number, Number]
    gained: Number


def rows(root: Path, preset: str, metrics: Metrics) -> list[Row]:
    """One row for each data/<preset>/augment/<name>/measures.json, by alphabet, `none` first; none where there is none.

    gained: points of R@1 under `joint` over `mat`, which has the pairs of `none`, the mean of both directions; None where
    one of the two was not trained or attacked.
    """
    found = {path.parent.name: path for path in (root / "data" / preset / "augment").glob("*/measures.json")}
    return [
        _row(name, json.loads(found[name].read_text()), metrics)
        for name in sorted(found, key=lambda n: (n != "none", n))
    ]


def markdown(table: Sequence[Row]) -> str:
    """The table as Markdown; a dash is what does not apply or cannot be known."""
    heads = [heading for heading, _ in COLUMNS.values()]
    lines = ["| Augmentation | " + " | ".join((*heads, "MAT under joint", "Gained")) + " |", "|:--|" + "--:|" * 10]
    for row in table:
        joint = "–" if row.joint[0] is None else " / ".join(f"{value:.1f}" for value in row.joint)
        gained = "–" if row.gained is None else f"{row.gained:+.1f}"
        lines.append(f"| {row.name} | " + " | ".join((*row.measures, joint, gained)) + " |")
    return "\n".join(lines) + "\n"


def _row(name: str, measures: dict[str, Number], metrics: Metrics) -> Row:
    cells = [_text(measures.get(key), form) for key, (_, form) in COLUMNS.items()]
    before = _joint(metrics, BASELINE)
    joint = before if name == "none" else _joint(metrics, PREFIX + name)
    gained = None
    if None not in (*joint, *before) and name != "none":
        gained = sum(value or 0.0 for value in joint) / 2 - sum(value or 0.0 for value in before) / 2
    return Row(name, tuple(cells), joint, gained)


def _text(value: Number, form: str) -> str:
    """-0.0 is 0: an unbiased estimate of nothing falls on both sides of it."""
    return "–" if value is None else form.format(value).replace("-0.0000", "0.0000")


def _joint(metrics: Metrics, defense: str) -> tuple[Number, Number]:
    cell = metrics.get(defense, {}).get("joint", {})
    return cell.get("tr_r1"), cell.get("ir_r1")
