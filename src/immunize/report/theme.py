"""How charts look: one color a defense, apart for color-blind readers too, and a dark twin of each file."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from immunize.report.names import ordered

INK, MUTED, GRID = "#1f2328", "#59636e", "#d8dee4"
UNDEFENDED = {"pretrain": "#b3bac2", "finetune": "#6b7580"}  # gray: nothing was done against attacks
KNOWN = UNDEFENDED | {"tecoa": "#d9770b", "mat": "#0f62b5"}
HEAT = "#12805c"
OTHERS = [HEAT, "#a33b7c", "#4aa3df", "#8a6d1d", "#c0392b"]
DARK = {
    INK: "#f0f6fc", MUTED: "#9da7b3", GRID: "#31373f", "#b3bac2": "#59626d", "#6b7580": "#aab4bf", "#d9770b": "#f29b3f",
    "#0f62b5": "#5aa9f8", "#12805c": "#3fc796", "#a33b7c": "#dd7fbb", "#4aa3df": "#93cdf2", "#8a6d1d": "#cbb05c",
    "#c0392b": "#f0776b",
}  # fmt: skip
FONTS = "-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "immunize", "svg.fonttype": "none", "font.family": ["DejaVu Sans"], "font.size": 9.5,
    "text.color": INK, "axes.labelcolor": MUTED, "axes.edgecolor": GRID, "xtick.color": MUTED, "ytick.color": MUTED,
    "xtick.labelcolor": INK, "ytick.labelcolor": MUTED, "axes.titlesize": 10.5, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.titlepad": 10, "axes.spines.top": False, "axes.spines.right": False,
    "axes.spines.left": False, "axes.grid": True, "axes.grid.axis": "y", "grid.color": GRID, "grid.linewidth": 0.8,
    "axes.axisbelow": True, "xtick.major.size": 0, "ytick.major.size": 0, "legend.frameon": False,
}  # fmt: skip


def colors(defenses: Sequence[str]) -> dict[str, str]:
    """One color a defense: gray for those that defend nothing, orange for image only, blue for both; then others."""
    others = [d for d in ordered(defenses) if d not in KNOWN]
    return KNOWN | {d: OTHERS[i % len(OTHERS)] for i, d in enumerate(others)}


def canvas(rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure of `size` inches and its axes in reading order; to be made and drawn on under `rc_context(STYLE)`."""
    figure = Figure(figsize=size, layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False, **options).flat)


def save(figure: Figure, path: Path) -> None:
    """`path` for light pages and `<stem>-dark.svg` for dark ones; no date, no random ids: same figure, same bytes."""
    buffer = io.StringIO()
    with rc_context(STYLE):
        _settle(figure)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    light = buffer.getvalue().replace("'DejaVu Sans'", FONTS)  # laid out in the wider font, read in the reader's own
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(light)
    dark(path).write_text(re.sub("|".join(DARK), lambda match: DARK[match[0]], light))


def _settle(figure: Figure) -> None:
    """The layout's last digits depend on where its solver stands in memory, and ids are made of them: rounded, for good."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        left, bottom, width, height = (round(float(edge), 6) for edge in axes.get_position().bounds)
        axes.set_position((left, bottom, width, height))


def dark(path: Path) -> Path:
    return path.with_name(f"{path.stem}-dark{path.suffix}")


def end_labels(axes: Axes, points: dict[str, tuple[float, float, str]], gap: float = 0.075) -> None:
    """Names beside the ends of their lines, moved apart where they would overlap.

    points: label -> (x, y, color). gap: between labels, in parts of the axes' height.
    """
    low, high = axes.get_ylim()
    floor = -1.0
    for label, (x, y, color) in sorted(points.items(), key=lambda item: item[1][1]):
        axes.plot([x], [y], "o", color=color, markersize=4.5, clip_on=False, zorder=4)
        floor = max((y - low) / (high - low), floor + gap)
        axes.annotate(
            label, (x, y), (1.03, floor), textcoords="axes fraction", va="center", color=INK, annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": GRID, "linewidth": 0.8, "shrinkA": 1, "shrinkB": 3,
                        "relpos": (0, 0.5)},
        )  # fmt: skip
