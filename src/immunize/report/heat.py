"""Every attack against every model on one chart: the darker a cell, the more recall is left."""

from __future__ import annotations

from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from immunize.report.names import attack_label, defense_label, ordered
from immunize.report.summary import Metrics, Results
from immunize.report.tables import WAYS, grouped
from immunize.report.theme import HEAT, INK, MUTED, STYLE, canvas, save

Rows = list[tuple[float, str]]  # where an attack stands, and its name
APART = 0.45  # between attacks on the image, on the text and on both, in rows


def write(metrics: Metrics, results: Results, path: Path) -> None:
    """R@1 in percent: attacks down in the order of `grouped`, models across, one panel a direction."""
    groups = grouped(metrics, results)
    rows: Rows = []
    for group in groups.values():
        start = rows[-1][0] + 1 + APART if rows else 0.0
        rows += [(start + place, attack) for place, attack in enumerate(group)]
    height = rows[-1][0] + 1
    with rc_context(STYLE):
        figure, axes = canvas(1, 2, (8.6, 1.1 + 0.3 * height), sharey=True)
        for ax, (way, title) in zip(axes, WAYS.items(), strict=True):
            _cells(ax, metrics, rows, way)
            ax.set_title(f"Recall at 1, {title} (%)", pad=22)
            ax.set(xlim=(0, len(metrics)), ylim=(height, 0))
        axes[0].set_yticks([y + 0.5 for y, _ in rows], [attack_label(attack) for _, attack in rows])
        axes[0].tick_params(axis="y", labelcolor=INK)
    save(figure, path)


def _cells(ax: Axes, metrics: Metrics, rows: Rows, way: str) -> None:
    defenses = ordered(metrics)
    for x, defense in enumerate(defenses):
        for y, attack in rows:
            cell = metrics[defense].get(attack)
            if cell is None:
                ax.text(x + 0.5, y + 0.5, "–", ha="center", va="center", color=MUTED)
                continue
            value = cell[f"{way}_r1"]
            shade = 0.06 + 0.64 * value / 100  # the opacity, so that one picture serves light and dark pages
            ax.add_patch(Rectangle((x + 0.02, y + 0.04), 0.96, 0.92, color=HEAT, alpha=shade, linewidth=0))
            ax.text(x + 0.5, y + 0.52, f"{value:.1f}", ha="center", va="center", color=INK, fontsize=9)
    ax.set_xticks([x + 0.5 for x in range(len(defenses))], [_short(defense) for defense in defenses])
    ax.tick_params(axis="x", labeltop=True, labelbottom=False, labelsize=9)
    ax.grid(visible=False)
    ax.spines["bottom"].set_visible(False)


def _short(defense: str) -> str:
    """The label without what stands in brackets."""
    return defense_label(defense).partition(" (")[0]
