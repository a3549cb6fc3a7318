"""The headline table: defenses down, attacks across, recall at k in both directions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from immunize.evaluation.results import Result
from immunize.report.names import HEADLINE, attack_label, defense_label, ordered
from immunize.report.summary import Metrics, Results

WAYS = {"tr": "image → text", "ir": "text → image"}


def markdown(metrics: Metrics, k: int = 1) -> str:
    """R@k as `TR / IR` in percent, the best of each column bold, and how wide the intervals are."""
    attacks = [a for a in HEADLINE if any(a in by_attack for by_attack in metrics.values())]
    best = {(a, way): max(c[a][f"{way}_r{k}"] for c in metrics.values() if a in c) for a in attacks for way in WAYS}
    rows = ["| Defense | " + " | ".join(map(attack_label, attacks)) + " |", "|:--|" + "--:|" * len(attacks)]
    for defense in ordered(metrics):
        cells = [_cell(metrics[defense].get(a), {way: best[a, way] for way in WAYS}, k) for a in attacks]
        rows.append(f"| {defense_label(defense)} | " + " | ".join(cells) + " |")
    note = (
        f"R@{k} in percent, {' / '.join(WAYS.values())}; 95 % intervals reach at most ±{widest(metrics, k):.1f} points."
    )
    return "\n".join(rows) + f"\n\n{note}\n"


def best_defense(metrics: Metrics, attack: str = "joint") -> str:
    """The defense with the highest mean of TR and IR R@1 under `attack` (under its weakest cell if it was not run)."""
    return max(ordered(metrics), key=lambda d: min(map(_mean, _chosen(metrics[d], attack))))


def depths(metrics: Metrics) -> list[int]:
    """Every k for which R@k was reported."""
    return sorted({int(name[4:]) for cell in _cells(metrics) for name in cell if name[4:].isdigit()})


def attacked(results: Iterable[Result]) -> str:
    """How many images the attacks were on: "500", or "50 to 500"."""
    sizes = sorted({len(result.image_ids) for result in results if result.attack != "clean"}) or [0]
    return f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"


def widest(metrics: Metrics, k: int = 1) -> float:
    """The longest arm of any interval of R@k in the headline, in points."""
    shown = {d: {a: cell for a, cell in cells.items() if a in HEADLINE} for d, cells in metrics.items()}
    pairs = [(cell, f"{way}_r{k}") for cell in _cells(shown) for way in WAYS]
    return max(abs(cell[name + end] - cell[name]) for cell, name in pairs for end in ("_low", "_high"))


def grouped(metrics: Metrics, results: Results) -> dict[str, list[str]]:
    """What an attack changes -> the attacks, those that leave the most recall first; the clean data and the worst apart.

    An attack changes what it changed: pixels, words, or both, on whichever model.
    """
    found: dict[str, list[str]] = {"": ["clean"], "image": [], "text": [], "image and text": [], "all of them": []}
    for attack in {attack for by_attack in metrics.values() for attack in by_attack} - {"clean"}:
        runs = [by_attack[attack] for by_attack in results.values() if attack in by_attack]
        changed = [way for way, field in (("image", "linf"), ("text", "changed_words"))
                   if any(max(getattr(run, field)) > 0 for run in runs)]  # fmt: skip
        found[" and ".join(changed) or "all of them"].append(attack)
    left = {a: -sum(_mean(c[a]) for c in metrics.values() if a in c) for group in found.values() for a in group}
    return {group: sorted(attacks, key=lambda a: (left[a], a)) for group, attacks in found.items() if attacks}


def _cell(cell: dict[str, float] | None, best: dict[str, float], k: int) -> str:
    if cell is None:
        return "–"
    values = [(cell[f"{way}_r{k}"], best[way]) for way in WAYS]
    return " / ".join(f"**{value:.1f}**" if value == top > 0 else f"{value:.1f}" for value, top in values)


def _chosen(by_attack: dict[str, dict[str, float]], attack: str) -> list[dict[str, float]]:
    return [by_attack[attack]] if attack in by_attack else list(by_attack.values())


def _mean(cell: dict[str, float]) -> float:
    return (cell["tr_r1"] + cell["ir_r1"]) / 2


def _cells(metrics: Metrics) -> Iterator[dict[str, float]]:
    return (cell for by_attack in metrics.values() for cell in by_attack.values())
