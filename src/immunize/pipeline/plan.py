"""What `dvc repro` would run and why, with consequences: `dvc repro --dry` does not follow a change downstream."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from immunize.pipeline.graph import changes, nodes


@dataclass(frozen=True, slots=True)
class Step:
    """`runs`: "yes" by its own change, "maybe" if something above it comes out different, "no" when up to date."""

    stage: str
    runs: Literal["yes", "maybe", "no"]
    why: tuple[str, ...]


def plan(root: Path = Path("."), targets: tuple[str, ...] = ()) -> tuple[Step, ...]:
    """One Step for each stage in the order of the run; raises PipelineError where dvc.yaml cannot be read."""
    changed, steps = changes(root), dict[str, Step]()
    for node in nodes(root, targets):
        above = tuple(f"after {name}" for name in node.upstream if steps[name].runs != "no")
        if node.name in changed:
            steps[node.name] = Step(node.name, "yes", changed[node.name])
        else:
            steps[node.name] = Step(node.name, "maybe" if above else "no", above or ("up to date",))
    return tuple(steps.values())


def markdown(steps: Iterable[Step]) -> str:
    """The plan as a table, at most three reasons a stage."""
    rows = [f"| {step.stage} | {step.runs} | {_short(step.why)} |" for step in steps]
    return "\n".join(["| stage | runs | why |", "|---|---|---|", *rows])


def _short(why: tuple[str, ...]) -> str:
    more = f" and {len(why) - 3} more" if len(why) > 3 else ""
    return "; ".join(why[:3]) + more
