"""The ranked table and the charts of a search, from records on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from immunize.report.trials import front, main, ranked, table


def record(name: str, robust: float, clean: float, rung: int = 0, lr: float | str = 0.1) -> dict[str, Any]:
    measures = {"robust": float(robust), "clean": float(clean)}
    return {"name": name, "rung": rung, "point": {"lr": lr, "batch": 8}, "measures": measures, "seconds": 3.0}


RECORDS = [record("a", 10, 90), record("b", 20, 80), record("c", 15, 70), record("d", 5, 99, rung=1)]


def test_the_last_rung_stands_first() -> None:
    assert [one["name"] for one in ranked(RECORDS)] == ["d", "b", "c", "a"]
    rows = table(RECORDS[:3]).splitlines()
    assert rows[0] == "| | trial | lr | batch | rung | robust | clean | seconds |"
    assert rows[2] == "| * | a | 0.1 | 8 | 0 | 10.00 | 90.00 | 3 |" and rows[4].startswith("|  | c |")


def test_the_front_by_hand() -> None:
    assert [one["name"] for one in front(RECORDS[:3])] == ["b", "a"]  # c is worse than b in both
    assert [one["name"] for one in front(RECORDS)] == ["d"]  # others were not trained as long


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12))
def test_what_is_not_on_the_front_is_dominated_by_what_is(values: list[tuple[int, int]]) -> None:
    records = [record(str(i), *pair) for i, pair in enumerate(values)]
    best = [tuple(one["measures"].values()) for one in front(records)]
    for pair in values:
        above = [b for b in best if b[0] >= pair[0] and b[1] >= pair[1]]
        assert above and (pair in best) == all(b == pair for b in above)


def test_files(tmp_path: Path) -> None:
    """Numbers, words and a single value on an axis; the same records give the same bytes."""
    for one in [*RECORDS, record("e", 1, 1, lr="2/255")]:
        (tmp_path / f"{one['name']}.json").write_text(json.dumps(one))
    main(tmp_path)
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {"trials.md", "parallel.svg", "parallel-dark.svg", "pareto.svg", "pareto-dark.svg"} <= kept.keys()
    assert b"2/255" in kept["parallel.svg"] and b">d<" in kept["pareto.svg"]
    main(tmp_path)
    assert kept == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
