"""May this change pass? The gated metrics of this checkout against a git revision's (`dvc metrics diff` never fails).

A metric fails when it is missing or not a number, when it lost more than `max_drop` since the base, or when it is
beyond its `floor` or `ceiling`. The bootstrap intervals beside it (`<metric>_low`, `_high`) only say whether a loss is
within noise: they explain a loss and never excuse one, since a wide interval would excuse everything.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from immunize.config import ConfigurationError, frozen, parse, preset


@frozen
class Gate:
    """One line of gates.yaml. `max_drop` is in the metric's unit, towards the worse whichever way is better."""

    better: Literal["higher", "lower"]
    max_drop: Annotated[float, Field(ge=0)]
    floor: float | None = None
    ceiling: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """`code` 0 passes, 1 is a regression, 2 cannot be judged; `markdown` is for the pull request."""

    code: int
    markdown: str


class NoBase(RuntimeError):
    """The base is no revision here, or has no metrics of this preset; the message says which."""


def gate(base: str, root: Path = Path("."), allow_no_base: bool = False) -> int:
    """Prints the table; 0 passes, 1 is a regression, 2 cannot be judged."""
    try:
        verdict = judge(base, root, allow_no_base)
    except ConfigurationError as error:
        verdict = Verdict(2, f"cannot judge: {error}")
    print(verdict.markdown)
    return verdict.code


def judge(base: str, root: Path = Path("."), allow_no_base: bool = False) -> Verdict:
    """Every gate of the current preset; with `allow_no_base` an unknown base leaves floors and ceilings to hold."""
    name = preset(root)
    gates = read_gates(root, name)
    path = f"reports/{name}/metrics.json"
    head = _numbers(json.loads((root / path).read_text())) if (root / path).exists() else {}  # none: all are missing
    try:
        old, note = _at(base, path, root), ""
    except NoBase as error:
        if not allow_no_base:
            return Verdict(2, f"cannot judge: {error}")
        old, note = {}, f"\n\nNo base to compare with ({error}): only floors and ceilings were held."
    rows = [_row(metric, gate, old, head) for metric, gate in gates.items()]
    failed = sum("FAIL" in row for row in rows)
    title = f"**{failed} of {len(rows)} gates failed**" if failed else f"all {len(rows)} gates hold"
    table = "\n".join(["| metric | base | here | gain | verdict |", "|---|--:|--:|--:|---|", *rows])
    return Verdict(int(failed > 0), f"{title} (preset {name}, against {base})\n\n{table}{note}")


def read_gates(root: Path, name: str) -> dict[str, Gate]:
    """The gates of one preset; raises ConfigurationError where gates.yaml has none for it or a key is wrong."""
    every = yaml.safe_load((root / "gates.yaml").read_text()) or {}
    if not every.get(name):
        raise ConfigurationError(f"gates.yaml has no gates for preset '{name}', only for {sorted(every)}; add them")
    return parse(every[name], dict[str, Gate], f"gates.yaml: {name}")


def _at(base: str, path: str, root: Path) -> dict[str, float]:
    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)

    found = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}")
    if found.returncode:
        raise NoBase(f"'{base}' is no git revision here; fetch it (a shallow clone has only its own branch)")
    shown = git("show", f"{found.stdout.strip()}:./{path}")
    if shown.returncode:
        raise NoBase(f"{base} has no {path}; run `dvc repro` there and commit the file")
    try:
        return _numbers(json.loads(shown.stdout))
    except json.JSONDecodeError as error:
        raise NoBase(f"{path} at {base} is not JSON: {error}") from error


def _numbers(tree: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """{"mat": {"joint": {"tr_r1": 12.0}}} -> {"mat.joint.tr_r1": 12.0}; what is no finite number is left out."""
    found: dict[str, float] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            found |= _numbers(value, f"{prefix}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            found[f"{prefix}{key}"] = float(value)
    return found


def _row(metric: str, gate: Gate, old: dict[str, float], new: dict[str, float]) -> str:
    was, now = old.get(metric), new.get(metric)
    gain = None if was is None or now is None else now - was
    cells = [metric, _cell(was), _cell(now), "-" if gain is None else f"{gain:+.2f}", _verdict(metric, gate, old, new)]
    return f"| {' | '.join(cells)} |"


def _verdict(metric: str, gate: Gate, old: dict[str, float], new: dict[str, float]) -> str:
    was, now = old.get(metric), new.get(metric)
    if now is None:
        return "FAIL: missing"
    if gate.floor is not None and now < gate.floor:
        return f"FAIL: below the floor {gate.floor:g}"
    if gate.ceiling is not None and now > gate.ceiling:
        return f"FAIL: above the ceiling {gate.ceiling:g}"
    if was is None:
        return "ok (new)"
    loss = round(was - now if gate.better == "higher" else now - was, 9)  # 12.1 - 9.1 must not exceed 3.0
    noise = " (within noise)" if loss > 0 and _within_noise(metric, old, new) else ""
    return f"FAIL: lost {loss:.2f}, more than {gate.max_drop:g}{noise}" if loss > gate.max_drop else f"ok{noise}"


def _within_noise(metric: str, old: dict[str, float], new: dict[str, float]) -> bool:
    """Either value lies inside the other's interval; without intervals no loss is called noise."""

    def inside(value: float, of: dict[str, float]) -> bool:
        return of.get(f"{metric}_low", math.inf) <= value <= of.get(f"{metric}_high", -math.inf)

    return inside(new[metric], old) or inside(old[metric], new)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


if __name__ == "__main__":  # without the rest of the package, for the pull-request workflow
    sys.exit(gate(sys.argv[1], allow_no_base="--allow-no-base" in sys.argv))
