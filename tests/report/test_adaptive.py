"""Systems under attacks that know them, on the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from immunize.metrics.interval import wilson
from immunize.report import adaptive

from .outline import rows, section, text


@pytest.fixture(scope="module")
def page(written: Path) -> str:
    return section((written / "reports/toy/report.html").read_text(), "adaptive")


def test_each_system_with_its_four_figures(page: str) -> None:
    assert rows(page) == {"robust": ["50.0 1.0–99.0"] * 4, "Adapted": ["75.0 1.0–99.0"] * 4}


def test_lost_is_wrong_and_unflagged_at_once(page: str, run: Path) -> None:
    """Three of four are answered wrongly, one passes unflagged: one is lost, not the smaller nor the sum of the two."""
    table = rows(page[page.index("Lost to each attack") :])
    one = wilson(1, 4)
    assert list(table) == ["As it came", "Steering the policy", "Worst of all"]
    assert table["Worst of all"][1] == f"25.0 {one.low:.1f}–{one.high:.1f}" and table["As it came"][1].startswith(
        "0.0 0.0"
    )
    found = adaptive.read(run, "toy")
    assert found is not None and found.items == 4
    assert [found.lost["steering"]["adapted"][name] for name in ("lost", "wrong", "unflagged")] == [25.0, 75.0, 25.0]
    assert [found.lost["steering"]["robust"][name] for name in ("lost", "wrong", "unflagged")] == [50.0, 50.0, 100.0]


def test_what_speaks_against_the_attacks_is_said(page: str) -> None:
    said = text(page)
    assert "Of 2 checks on these attacks 1 failed." in said and "share of &lt;zero&gt; slopes" in said


def test_without_the_stage_there_is_nothing(tmp_path: Path) -> None:
    assert adaptive.read(tmp_path, "toy") is None
