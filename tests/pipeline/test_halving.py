"""Asynchronous successive halving, by hand and as properties."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from immunize.pipeline.halving import Halving


def test_by_hand() -> None:
    """Six points, eta 3: the best of three climbs as soon as three are known, and a better one when it comes."""
    search = Halving(6, rungs=2, eta=3)
    scores, order = {0: 1.0, 1: 5.0, 2: 3.0, 3: 9.0, 4: 2.0, 5: 0.0}, []
    while (chosen := search.next()) is not None:
        order.append(chosen)
        search.tell(*chosen, scores[chosen[0]])
    assert order == [(0, 0), (1, 0), (2, 0), (1, 1), (3, 0), (3, 1), (4, 0), (5, 0)]


def test_one_rung_is_the_grid() -> None:
    search = Halving(4)
    assert [search.next() for _ in range(5)] == [(0, 0), (1, 0), (2, 0), (3, 0), None]


def test_a_point_that_failed_climbs_no_further_than_the_others() -> None:
    search = Halving(3, rungs=2, eta=3)
    for point, score in enumerate((float("-inf"), 1.0, 2.0)):
        assert search.next() == (point, 0)
        search.tell(point, 0, score)
    assert search.next() == (2, 1) and search.next() is None


@given(st.lists(st.integers(0, 100), min_size=1, max_size=20), st.integers(1, 3), st.integers(2, 4), st.data())
def test_nobody_is_tried_twice_and_only_the_best_climb(
    scores: list[int], rungs: int, eta: int, data: st.DataObject
) -> None:
    """Trials end in any order, several run at once."""
    search, running, done = Halving(len(scores), rungs, eta), [], Counter[tuple[int, int]]()
    while True:
        while len(running) < 3 and (chosen := search.next()) is not None:
            running.append(chosen)
        if not running:
            break
        point, rung = running.pop(data.draw(st.integers(0, len(running) - 1)))
        done[point, rung] += 1
        search.tell(point, rung, float(scores[point]))
    assert set(done.values()) == {1}
    assert {point for point, rung in done if rung == 0} == set(range(len(scores)))
    for rung in range(1, rungs):
        climbed = {point for point, r in done if r == rung}
        before = [point for point, r in done if r == rung - 1]
        best = sorted(before, key=lambda point: (-scores[point], point))[: len(before) // eta]
        assert (
            set(best) <= climbed
        )  # in the end all of the best have climbed; some that were among them for a while too
