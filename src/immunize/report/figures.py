"""The charts of a report, each drawn from records on disk and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes

from immunize.evaluation.results import Sweep
from immunize.report.names import HEADLINE, attack_label, defense_label, ordered
from immunize.report.summary import Metrics
from immunize.report.tables import WAYS
from immunize.report.theme import INK, MUTED, STYLE, canvas, colors, end_labels, save

Log = list[dict[str, Any]]


def clean_vs_robust(metrics: Metrics, path: Path) -> None:
    """R@1 with its 95 % interval: attacks across, one bar a defense, image -> text above text -> image."""
    with rc_context(STYLE):
        figure, axes = canvas(2, 1, (8.6, 5.4), sharex=True)
        for ax, (way, title) in zip(axes, WAYS.items(), strict=True):
            _bars(ax, metrics, way)
            ax.set_title(f"Recall at 1, {title} (%)")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=min(len(labels), 4), handlelength=0.9,
                      handletextpad=0.5, columnspacing=1.6)  # fmt: skip
    save(figure, path)


def loss_curves(logs: dict[str, Log], path: Path) -> None:
    """Training loss against step, smoothed over the raw values; pretraining apart, for its steps are not comparable."""
    first = [d for d in ordered(logs) if d == "pretrain"]
    panels = [(title, group) for title, group in (("Pretraining", first), ("Immunization", sorted({*logs} - {*first})))
              if group]  # fmt: skip
    with rc_context(STYLE):
        figure, axes = canvas(1, len(panels), (8.6, 3.0))
        for ax, (title, group) in zip(axes, panels, strict=True):
            ends = {}
            for name in ordered(group):
                ends[defense_label(name)] = _curve(ax, logs[name], colors(list(logs))[name])
            _line_axes(ax, f"{title}: loss", "step")
            end_labels(ax, ends)
    save(figure, path)


def epsilon_sweep(sweeps: dict[str, Sweep], path: Path) -> None:
    """R@1 against the radius of the image attack, in 255ths of the pixel range."""
    shade = colors(list(sweeps))
    with rc_context(STYLE):
        figure, axes = canvas(1, 2, (8.6, 3.2), sharey=True)
        for ax, (way, title) in zip(axes, WAYS.items(), strict=True):
            ends = {}
            for name in ordered(sweeps):
                x = [255 * e for e in sweeps[name].eps]
                y = getattr(sweeps[name], f"{way}_r1")
                ax.plot(x, y, color=shade[name], linewidth=2, marker="o", markersize=3.5)
                ends[defense_label(name)] = (x[-1], y[-1], shade[name])
            _line_axes(ax, f"Recall at 1, {title} (%)", "radius ε / 255")
            ax.set_ylim(0, 102)
            if ax is axes[-1]:
                end_labels(ax, ends)
    save(figure, path)


def smooth(values: Sequence[float]) -> list[float]:
    """Centered moving average over a twentieth of the run, which unlike a trailing one does not lag behind a fall."""
    half = len(values) // 40
    windows = [values[max(i - half, 0) : i + half + 1] for i in range(len(values))]
    return [sum(window) / len(window) for window in windows]


def _bars(ax: Axes, metrics: Metrics, way: str) -> None:
    attacks = [a for a in HEADLINE if any(a in by_attack for by_attack in metrics.values())]
    shade, width = colors(list(metrics)), 0.84 / len(metrics)
    for n, defense in enumerate(ordered(metrics)):
        cells = {i: metrics[defense][a] for i, a in enumerate(attacks) if a in metrics[defense]}
        x = [i + (n - (len(metrics) - 1) / 2) * width for i in cells]
        y = [cell[f"{way}_r1"] for cell in cells.values()]
        arms = [[v - cell[f"{way}_r1_low"] for v, cell in zip(y, cells.values(), strict=True)],
                [cell[f"{way}_r1_high"] - v for v, cell in zip(y, cells.values(), strict=True)]]  # fmt: skip
        ax.bar(x, y, width * 0.9, color=shade[defense], label=defense_label(defense))
        ax.errorbar(x, y, arms, fmt="none", ecolor=INK, elinewidth=0.9, capsize=1.8, capthick=0.9)
        if len(metrics) <= 6:
            for at, top, value in zip(x, arms[1], y, strict=True):
                place: Any = {"xytext": (0, 3), "textcoords": "offset points", "ha": "center", "fontsize": 8}
                ax.annotate(f"{value:.1f}", (at, value + top), **place)
    ax.set_xticks(range(len(attacks)), [attack_label(a) for a in attacks])
    ax.set(xlim=(-0.5, len(attacks) - 0.5), ylim=(0, 108), yticks=range(0, 101, 25))
    ax.tick_params(axis="x", labelbottom=True, labelsize=9.5)


def _curve(ax: Axes, log: Log, color: str) -> tuple[float, float, str]:
    steps, losses = [float(r["step"]) for r in log], [r["loss"] for r in log]
    line = smooth(losses)
    ax.plot(steps, losses, color=color, linewidth=0.7, alpha=0.3)
    ax.plot(steps, line, color=color, linewidth=1.8)
    return steps[-1], line[-1], color


def _line_axes(ax: Axes, title: str, xlabel: str) -> None:
    ax.set_title(title)
    ax.set_xlabel(xlabel)
    ax.margins(x=0.02)
    ax.tick_params(axis="x", labelcolor=MUTED)
