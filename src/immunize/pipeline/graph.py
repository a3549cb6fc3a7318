"""The stages of dvc.yaml and what changed since they ran: the one module that uses DVC's semi-private API."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from immunize.config import frozen, parse


class PipelineError(RuntimeError):
    """dvc.yaml cannot be read or is in use; the message says which and what to do."""


@frozen
class Schedule:
    """`meta: {prefect: {timeout_seconds: 3600}}` of a stage: for Prefect alone, outside the stage's hash."""

    timeout_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One stage, the stages it needs, and how long it may run."""

    name: str
    upstream: tuple[str, ...]
    schedule: Schedule


def nodes(root: Path = Path("."), targets: tuple[str, ...] = ()) -> tuple[Node, ...]:
    """The stages that `dvc repro *targets` would visit, in its order: upstream first; raises PipelineError."""
    from dvc.repo import Repo
    from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

    try:
        with Repo(str(root)) as repo:
            graph = get_active_graph(repo.index.graph)  # edges point from a stage to what it needs
            file = f"{repo.root_dir}/dvc.yaml"
            stages = plan_repro(graph, collect_stages(repo, [f"{file}:{name}" for name in targets] or [file]))
            return tuple(_node(stage, graph) for stage in stages if not stage.is_data_source)
    except Exception as error:  # DVC has no common ancestor for a bad file, an unknown stage and a cycle
        raise PipelineError(f"{root / 'dvc.yaml'}: {error}") from error


def changes(root: Path = Path(".")) -> dict[str, tuple[str, ...]]:
    """What differs from dvc.lock, for each stage that differs: ("modified src/train.py", "missing models/a.json")."""
    from dvc.lock import LockError
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo, repo.lock:
            stages = [stage for stage in repo.index.stages if not stage.is_data_source]
            found = {_name(stage): tuple(_reasons(stage.status())) for stage in stages}
            return {name: reasons for name, reasons in found.items() if reasons}
    except LockError as error:
        raise PipelineError(f"{root}: another dvc command is at work; wait for it to end, then ask again") from error
    except Exception as error:
        raise PipelineError(f"{root / 'dvc.yaml'}: {error}") from error


def _name(stage: Any) -> str:
    """`stage.addressing`, whatever the working directory: it is relative to that one, and wrong outside the project."""
    folder = Path(stage.path).parent.relative_to(stage.repo.root_dir)
    return str(stage.name) if folder == Path(".") else f"{folder / 'dvc.yaml'}:{stage.name}"


def _node(stage: Any, graph: Any) -> Node:
    name = _name(stage)
    upstream = {_name(above) for above in graph.successors(stage) if not above.is_data_source}
    schedule = parse((stage.meta or {}).get("prefect", {}), Schedule, f"{name}: meta.prefect")
    return Node(name, tuple(sorted(upstream)), schedule)


def _reasons(status: dict[str, list[Any]]) -> Iterator[str]:
    for entry in chain.from_iterable(status.values()):
        if isinstance(entry, str):  # "changed command", "always changed"
            yield entry
            continue
        for kind, paths in entry.items():
            yield from (_reason(kind, path, how) for path, how in paths.items())


def _reason(kind: str, path: str, how: str | dict[str, str]) -> str:
    if isinstance(how, dict):  # a params file: {"train.lr": "modified"}
        return "; ".join(f"{change} {path}: {key}" for key, change in how.items())
    word = "missing" if how in ("deleted", "not in cache") else how
    return f"{word} {'output ' if 'outs' in kind else ''}{path}"
