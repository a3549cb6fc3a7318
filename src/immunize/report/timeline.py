"""Regret of every contender, and one stream batch by batch: regime, belief, action, flags, reward and regret."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from math import inf
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes

from immunize.report.adaptation import VERSIONS, Adaptation, contender_label
from immunize.report.figures import smooth
from immunize.report.theme import HEAT, INK, MUTED, STYLE, canvas, end_labels, save

SHOWN = 300  # batches of the stream that are drawn
FAR = 3  # times the regret of the best fixed
COLORS = {"oracle": "#6b7580", "hindsight": "#d9770b", "best_fixed": "#0f62b5", "shipped": HEAT}
Run = dict[str, Any]


def regret(found: Adaptation, path: Path) -> None:
    """A panel a version, a line a contender, the shipped one thick. Draws nothing where no curve was kept."""
    versions = {name: one for name, one in sorted(found.found["versions"].items()) if "steps" in one}
    if not versions:
        return
    with rc_context(STYLE):
        figure, axes = canvas(len(versions), 1, (8.6, 3.5 * len(versions)))
        for ax, (name, version) in zip(axes, versions.items(), strict=True):
            _regrets(ax, version)
            ax.set_title(f"Version {name}, {VERSIONS.get(name, '')}: regret so far")
            ax.set_xlabel("batch")
            ax.tick_params(axis="x", labelcolor=MUTED)
    save(figure, path)


def timeline(found: Adaptation, path: Path) -> None:
    """The first batches of one stream. Without timeline.json: what the journal alone tells. Nothing without a journal."""
    journal = found.journal[:SHOWN]
    if not journal:
        return
    runs = _runs(found)
    told = set(journal[0]["belief"]) | set(runs.get("shipped", {}).get("regime", ()))
    actions = [action for action in found.found["table"]["latency"] if any(one["action"] == action for one in journal)]
    lines = 2 if runs else 0
    heights = [0.9 + 0.42 * len(told), 0.7 + 0.26 * len(actions), 1.2, *[1.6] * lines]
    with rc_context(STYLE):
        figure, axes = canvas(3 + lines, 1, (8.6, sum(heights) + 0.4), sharex=True, height_ratios=heights)
        _beliefs(axes[0], journal, runs, [regime for regime in found.regimes if regime in told])
        _actions(axes[1], [one["action"] for one in journal], actions)
        axes[2].plot([100 * one["flagged"] for one in journal], color=HEAT, linewidth=1, drawstyle="steps-post")
        axes[2].set(ylim=(-2, 102), title="Flagged pairs of the batch (%)")
        if runs:
            _lines(axes[3], {name: smooth(run["reward"]) for name, run in runs.items()}, "Reward, moving average")
            _lines(axes[4], {name: run["regret"] for name, run in runs.items()}, "Regret so far")
        axes[-1].set(xlim=(0, len(journal)), xlabel="batch")
        axes[-1].tick_params(axis="x", labelcolor=MUTED)
    save(figure, path)


def stretches(values: Sequence[Any]) -> list[tuple[int, int, Any]]:
    """(start, length, value) of each run of equal values."""
    found, at = [], 0
    for value, group in groupby(values):
        length = len(list(group))
        found.append((at, length, value))
        at += length
    return found


def _regrets(ax: Axes, version: dict[str, Any]) -> None:
    """One that ends at more than FAR times the best fixed runs out of the chart and is named at its edge with its end."""
    curves = {name: one["curve"] for name, one in version["contenders"].items() if name not in ("random", "oracle")}
    limit = FAR * curves["best_fixed"][-1] or inf  # where one action is best throughout, all are shown
    near = [curve[-1] for curve in curves.values() if curve[-1] <= limit]
    top, ends = 1.1 * max(near), {}
    for name, curve in sorted(curves.items()):
        shipped = name == version["shipped"]
        color = COLORS["shipped"] if shipped else COLORS.get(name, MUTED)
        ax.plot(version["steps"], curve, color=color, linewidth=2.4 if shipped else 1.2)
        label = contender_label(name) + (" (shipped)" if shipped else "")
        label += f" (ends at {curve[-1]:.0f})" if curve[-1] > top else ""
        ends[label] = (float(version["steps"][-1]), float(min(curve[-1], top)), color)
    ax.margins(x=0.01)
    if top > 0:
        ax.set_ylim(-0.03 * top, top)
    end_labels(ax, ends)


def _runs(found: Adaptation) -> dict[str, Run]:
    whole = found.timeline["runs"] if found.timeline else {}
    return {name: {key: values[:SHOWN] for key, values in whole[name].items()} for name in COLORS if name in whole}


def _beliefs(ax: Axes, journal: list[dict[str, Any]], runs: dict[str, Run], regimes: list[str]) -> None:
    """A band a regime, filled as high as it is believed in, in tenths, which keeps the file small."""
    for row, regime in enumerate(regimes):
        chances = stretches([round(10 * one["belief"].get(regime, 0.0)) / 10 for one in journal])
        x = [start for start, _, _ in chances] + [len(journal)]
        top = [row + 0.85 - 0.8 * chance for _, _, chance in [*chances, chances[-1]]]
        ax.fill_between(x, row + 0.85, top, step="post", color=HEAT, alpha=0.55, linewidth=0)
    for start, length, regime in stretches(runs["shipped"]["regime"]) if runs else ():
        row = regimes.index(regime)
        ax.plot([start, start + length], [row + 0.92] * 2, color=INK, linewidth=2.2, solid_capstyle="butt")
    ax.set_yticks([row + 0.5 for row in range(len(regimes))], [regime.replace("_", " ") for regime in regimes])
    ax.set(ylim=(max(1, len(regimes)) + 0.1, -0.1))
    ax.set_title("Belief in each regime; line: the one that reigns" if runs else "Belief in each regime")
    ax.tick_params(axis="y", labelcolor=INK)
    ax.grid(visible=False)


def _actions(ax: Axes, taken: list[str], actions: list[str]) -> None:
    for row, action in enumerate(actions):
        spans = [(start, length) for start, length, value in stretches(taken) if value == action]
        ax.broken_barh(spans, (row + 0.15, 0.7), color=COLORS["best_fixed"], linewidth=0)
    ax.set_yticks([row + 0.5 for row in range(len(actions))], [action.replace("_", " ") for action in actions])
    ax.set(ylim=(len(actions) + 0.05, -0.05), title="Action")
    ax.tick_params(axis="y", labelcolor=INK)
    ax.grid(visible=False)


def _lines(ax: Axes, by_run: dict[str, Sequence[float]], title: str) -> None:
    ends: dict[str, tuple[float, float, str]] = {}
    for name, values in by_run.items():
        ax.plot(values, color=COLORS[name], linewidth=2 if name == "shipped" else 1.1)
        ends["Shipped" if name == "shipped" else contender_label(name)] = (
            float(len(values) - 1),
            values[-1],
            COLORS[name],
        )
    ax.set_title(title)
    end_labels(ax, ends, gap=0.15)
