"""What each head and each baseline finds of each attack family, as dots with their intervals."""

from __future__ import annotations

from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes

from immunize.report.detection import GROUPS, Detection, detector_label
from immunize.report.names import attack_label
from immunize.report.theme import GRID, INK, MUTED, STYLE, canvas, colors, save

MARKS = ("s", "D", "^", "v")  # of the baselines


def write(found: Detection, path: Path, score: str = "manipulated") -> None:
    """TPR at 5 % of clean pairs: a panel a group of families, a row a family; the head that is saved stands on top."""
    heights = [len(names) + 0.9 for names in found.families.values()]
    with rc_context(STYLE):
        figure, axes = canvas(len(heights), 1, (8.6, 1.2 + 0.52 * sum(heights)), sharex=True, height_ratios=heights)
        for ax, (group, families) in zip(axes, found.families.items(), strict=True):
            _panel(ax, found, families, score)
            ax.set_title(f"{GROUPS[group]}: found at 5 % false positives (%)")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=min(len(labels), 7), handlelength=0.9,
                      handletextpad=0.4, columnspacing=1.2)  # fmt: skip
    save(figure, path)


def _panel(ax: Axes, found: Detection, families: list[str], score: str) -> None:
    heads = sorted(found.scores[score], key=lambda head: head != found.served)
    shade, step = colors(heads), 0.66 / max(1, len(heads))
    for n, head in enumerate(heads):
        cells = [found.scores[score][head][family] for family in families]
        y = [i + (n - (len(heads) - 1) / 2) * step for i in range(len(families))]
        x = [cell["tpr5"] for cell in cells]
        arms = [
            [v - cell["tpr5_low"] for v, cell in zip(x, cells)],
            [cell["tpr5_high"] - v for v, cell in zip(x, cells)],
        ]
        arms = [
            [max(0.0, arm) for arm in side] for side in arms
        ]  # an interval of few images may leave its own value out
        label = detector_label(head) + (" (served)" if head == found.served else "")
        ax.errorbar(x, y, xerr=arms, fmt="o", color=shade[head], markersize=6, elinewidth=1.4, capsize=2, label=label)
    for mark, (name, by_family) in zip(MARKS * 2, found.baselines.items()):
        x = [by_family[family]["tpr5"] for family in families]
        ax.plot(x, range(len(families)), mark, color=MUTED, markersize=4, alpha=0.7, label=detector_label(name))
    ax.axvline(5, color=MUTED, linewidth=0.8, linestyle=(0, (3, 3)))  # what chance finds
    ax.set_yticks(range(len(families)), [attack_label(family) for family in families])
    ax.set(xlim=(-2, 102), ylim=(len(families) - 0.45, -0.55))
    ax.tick_params(axis="y", labelcolor=INK)
    ax.tick_params(axis="x", labelcolor=MUTED, labelbottom=True)
    ax.grid(visible=False, axis="y")
    ax.grid(visible=True, axis="x", color=GRID)
