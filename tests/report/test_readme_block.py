"""The block in a README: replaced between its markers, and nowhere else."""

import json
from pathlib import Path

import pytest

from immunize.report.readme import END, START, main, updated
from immunize.report.tables import markdown


def test_replaces_only_what_is_between_the_markers(written: Path, tmp_path: Path) -> None:
    metrics = (written / "reports/toy/metrics.json").read_text()
    (tmp_path / "reports/scenes").mkdir(parents=True)
    (tmp_path / "reports/scenes/metrics.json").write_text(metrics)
    readme = tmp_path / "README.md"
    readme.write_text(f"# before\n{START}\nold\n{END}\nafter\n")
    main(tmp_path)
    once = readme.read_text()
    assert once.startswith(f"# before\n{START}\n<picture>") and once.endswith(f"{END}\nafter\n")
    assert "old" not in once and markdown(json.loads(metrics)) in once
    assert 'srcset="reports/scenes/figures/clean_vs_robust-dark.svg"' in once
    assert 'src="reports/scenes/figures/clean_vs_robust.svg"' in once
    main(tmp_path)
    assert readme.read_text() == once


@pytest.mark.parametrize("text", ["", START, f"{END} {START}", f"{START}{END}{START}{END}"])
def test_missing_or_doubled_markers_are_refused(text: str, written: Path) -> None:
    metrics = json.loads((written / "reports/toy/metrics.json").read_text())
    with pytest.raises(ValueError, match=r"README\.md needs one"):
        updated(text, metrics, Path("figure.svg"))
