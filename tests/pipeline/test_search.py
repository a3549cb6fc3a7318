"""Which trials a search has, and what they are called and measured by."""

from __future__ import annotations

from pathlib import Path

import pytest

from immunize.config import ConfigurationError, parse
from immunize.pipeline.overrides import overridden
from immunize.pipeline.search import Rungs, Search, measured, read, trial

ROOT = Path(__file__).parents[2]
GRID = Search(
    preset="toy",
    grid={"a.lr": (0.1, 0.2), "a.batch": (8, 16, 32)},
    measures={"robust": ("mat.worst.tr_r1", "mat.worst.ir_r1"), "clean": ("mat.clean.tr_r1",)},
    fixed={"evaluate.split": "validation"},
    rungs=Rungs("a.steps", (10, 30)),
)


def test_every_combination_is_a_point() -> None:
    points = list(GRID.points())
    assert len(points) == 6 and len({tuple(point.items()) for point in points}) == 6
    assert points[1] == {"a.lr": 0.1, "a.batch": 16}


def test_a_trial_sets_its_point_its_rung_and_what_is_fixed() -> None:
    one = trial("toy", GRID, {"a.lr": 0.1, "a.batch": 8}, 1)
    assert dict(one.values) == {"evaluate.split": "validation", "a.lr": 0.1, "a.batch": 8, "a.steps": 30}


def test_a_trial_is_called_by_what_it_sets_in_whatever_order() -> None:
    one, same = trial("toy", GRID, {"a.lr": 0.1, "a.batch": 8}, 0), trial("toy", GRID, {"a.batch": 8, "a.lr": 0.1}, 0)
    names = {trial("toy", GRID, point, rung).name for point in GRID.points() for rung in (0, 1)}
    assert one.name == same.name and len(names) == 12


def test_measures_are_means_of_the_named_numbers() -> None:
    metrics = {"mat": {"worst": {"tr_r1": 30, "ir_r1": 20}, "clean": {"tr_r1": 90}}}
    assert measured(GRID, metrics) == {"robust": 25, "clean": 90}
    with pytest.raises(
        ConfigurationError, match=r"toy/metrics\.json has no mat\.clean\.tr_r1: no 'tr_r1' among \['x'\]"
    ):
        measured(GRID, {"mat": {"worst": {"tr_r1": 30, "ir_r1": 20}, "clean": {"x": 1}}})


def test_mistakes_are_named() -> None:
    falling = {"preset": "a", "grid": {"b": [1]}, "measures": {"c": ["d"]}, "rungs": {"key": "e", "values": [3, 1]}}
    with pytest.raises(ConfigurationError, match=r"rungs: .*values: must rise"):
        parse(falling, Search, "x")
    with pytest.raises(ConfigurationError, match="smoke"):
        read(ROOT / "sweeps" / "missing.yaml")


@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_search_sets_keys_that_its_preset_has(path: Path) -> None:
    search = read(path)
    last = len(search.rungs.values) - 1 if search.rungs else 0
    for point in search.points():
        overridden((ROOT / search.file).read_text(), dict(trial(path.stem, search, point, last).values))
