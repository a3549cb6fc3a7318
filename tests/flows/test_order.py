"""Who is next: no slot is held by what waits, and the longest way to the end goes first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest

import order
from immunize.pipeline.graph import Node, Schedule


class Ends:
    """A future that ends after so many ticks of the clock."""

    def __init__(self, name: str, ticks: int) -> None:
        self.name, self.ticks = name, ticks

    def wait(self) -> None:
        assert self.ticks == 0


def played(graph: Sequence[Node], ticks: dict[str, int], slots: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happened, in order: `+name` begins, `-name` ends."""
    happened: list[str] = []
    at_work: list[Ends] = []

    def completed(futures: Iterable[Ends]) -> Iterator[Ends]:
        futures = list(futures)
        assert len(futures) <= slots
        while True:
            for one in at_work:
                one.ticks = max(one.ticks - 1, 0)
            for one in [one for one in futures if not one.ticks]:
                at_work.remove(one)
                happened.append(f"-{one.name}")
                yield one

    def submit(node: Node, needs: list[Any]) -> Any:
        assert [one.name for one in needs] == list(node.upstream)
        happened.append(f"+{node.name}")
        at_work.append(Ends(node.name, ticks[node.name]))
        return at_work[-1]

    monkeypatch.setattr(order, "as_completed", completed)
    assert [*order.run_all(graph, submit, slots)] == [name[1:] for name in happened if name[0] == "+"]
    return happened


def graph(**upstream: tuple[str, ...]) -> list[Node]:
    return [Node(name, needs, Schedule()) for name, needs in upstream.items()]


PIPELINE = graph(
    train=(), evaluate=("train",), other=("train",), verify=("train",), adapt=("verify",),
    report=("adapt", "evaluate", "other"),
)  # fmt: skip
TICKS = {"train": 1, "evaluate": 2, "other": 2, "verify": 3, "adapt": 2, "report": 1}


def test_the_longest_way_goes_first_and_nobody_waits_in_a_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    assert played(PIPELINE, TICKS, 2, monkeypatch) == [
        "+train", "-train", "+verify", "+evaluate", "-evaluate", "+other", "-verify", "+adapt", "-other", "-adapt",
        "+report", "-report",
    ]  # fmt: skip


@pytest.mark.parametrize("slots", [1, 2, 3, 8])
def test_each_runs_once_after_all_that_it_needs(slots: int, monkeypatch: pytest.MonkeyPatch) -> None:
    happened = played(PIPELINE, TICKS, slots, monkeypatch)
    assert sorted(happened) == sorted(sign + node.name for node in PIPELINE for sign in "+-")
    for node in PIPELINE:
        assert all(happened.index(f"-{name}") < happened.index(f"+{node.name}") for name in node.upstream)


def test_ways_to_the_end() -> None:
    assert order.ways(PIPELINE) == {"train": 4, "evaluate": 2, "other": 2, "verify": 3, "adapt": 2, "report": 1}


def test_of_equals_the_longer_chain_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """One slot: `adapt` and `other` are both one stage from the end, and `adapt` has more behind it."""
    assert order.behind(PIPELINE) == {"train": 0, "evaluate": 1, "other": 1, "verify": 1, "adapt": 2, "report": 3}
    begun = [name for name in played(PIPELINE, TICKS, 1, monkeypatch) if name[0] == "+"]
    assert begun == ["+train", "+verify", "+adapt", "+evaluate", "+other", "+report"]


def test_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Callable[[], None]] = []
    assert order.run_all([], lambda *_: asked.append, 2) == {} and not asked
