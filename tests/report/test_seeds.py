"""Means and intervals over seeds, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from immunize.report.seeds import main, table
from immunize.report.summary import Metrics


def run(mat: float, ours: float) -> Metrics:
    """One seed: every attack leaves `mat` and `ours`, a point less from text to image."""
    cells = {"mat": float(mat), "immunized": float(ours)}
    return {d: {a: {"tr_r1": v, "ir_r1": v - 1} for a in ("clean", "joint")} for d, v in cells.items()}


RUNS = [run(40, 43), run(42, 45.5), run(44, 46)]


def test_the_mean_and_the_arm_by_hand() -> None:
    """s = 2, t(0.975, 2) = 4.3027: 4.3027 * 2 / sqrt(3) = 4.97."""
    rows = table(RUNS).splitlines()
    assert rows[0] == "| Defense | Clean | Joint |"
    assert rows[2] == "| MAT (image and text) | 42.0 / 41.0 ± 5.0 | 42.0 / 41.0 ± 5.0 |"


def test_a_difference_is_taken_within_a_seed_and_bold_where_it_is_sure() -> None:
    """3, 3.5, 2: mean 2.83, s = 0.764, arm 1.90. Between seeds the same means are nowhere near sure."""
    (row,) = [line for line in table(RUNS, "mat").splitlines() if line.startswith("| Immunized")]
    assert row == "| Immunized | **+2.8 / +2.8 ± 1.9** | **+2.8 / +2.8 ± 1.9** |"
    unsure = table([run(40, 43), run(42, 41)], "mat")
    assert "+1.0 / +1.0 ± 25.4" in unsure and "**" not in unsure


def test_what_a_seed_lacks_is_left_out() -> None:
    less = [RUNS[0], {"mat": {"clean": RUNS[1]["mat"]["clean"]}}]
    text = table(less)
    assert "Immunized" not in text and "Joint" not in text and "MAT" in text


def test_the_page_is_written_from_the_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "needs two" in capsys.readouterr().err
    for i, metrics in enumerate(RUNS):
        (tmp_path / f"{i}.json").write_text(json.dumps({"metrics": metrics}))
    main([str(tmp_path), "--against", "mat"])
    assert (tmp_path / "seeds.md").read_text() == f"{table(RUNS)}\n{table(RUNS, 'mat')}"
