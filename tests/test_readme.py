"""The README says what the last run of the default preset found, and nothing older."""

import json
from pathlib import Path

from immunize.report.readme import PRESET, updated

ROOT = Path(__file__).parents[1]
REPORTS = Path("reports") / PRESET


def test_the_results_are_those_of_the_metrics() -> None:
    path = ROOT / REPORTS / "metrics.json"
    text = (ROOT / "README.md").read_text()
    expected = updated(text, json.loads(path.read_text()), REPORTS / "figures" / "clean_vs_robust.svg")
    assert text == expected, "run `python -m immunize.report.readme` and commit README.md"
