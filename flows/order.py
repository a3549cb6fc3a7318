"""Which stage next: one whose needs are done, the longest way to the end first; of equals, who has come the longest way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from prefect.futures import PrefectFuture, as_completed

from immunize.pipeline.graph import Node

Future = PrefectFuture[Any]


def run_all(graph: Sequence[Node], submit: Callable[[Node, list[Future]], Future], slots: int) -> dict[str, Future]:
    """`submit(node, futures of its needs)` for each node once these are done, `slots` at a time; all have ended on return.

    No slot is held by a stage that waits. `graph` is in an order that needs come first.
    """
    left, before = ways(graph), behind(graph)
    waiting = sorted(graph, key=lambda node: (-left[node.name], -before[node.name]))
    futures: dict[str, Future] = {}
    running: dict[str, Future] = {}
    while waiting or running:
        done = {*futures} - {*running}
        ready = [node for node in waiting if done.issuperset(node.upstream)]
        for node in ready[: slots - len(running)]:
            waiting.remove(node)
            futures[node.name] = running[node.name] = submit(node, [futures[name] for name in node.upstream])
        first = next(iter(as_completed([*running.values()])))
        first.wait()
        running = {name: future for name, future in running.items() if future is not first}
    return futures


def ways(graph: Sequence[Node]) -> dict[str, int]:
    """How many stages follow each one on the longest way to the end, itself counted."""
    left = dict.fromkeys((node.name for node in graph), 1)
    for node in reversed(graph):
        for name in node.upstream:
            left[name] = max(left[name], left[node.name] + 1)
    return left


def behind(graph: Sequence[Node]) -> dict[str, int]:
    """How many stages stand before each one on the longest way from the start."""
    before: dict[str, int] = {}
    for node in graph:
        before[node.name] = max((before[name] + 1 for name in node.upstream), default=0)
    return before
